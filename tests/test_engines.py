"""Where jobs run. Their functions are in engine_jobs.py, which other processes can import."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import engine_jobs
import pytest

from kpipe import engines
from kpipe.engines import Fault, Job, open_engine, processors
from kpipe.errors import RunError, Stopped, UserError, WriteError

ROOT = pathlib.Path(__file__).parent.parent


def job(function, log=None, /, **arguments):
    return Job(function.__name__, function, arguments, log)


def run(engine, *jobs):
    """Outcomes of jobs, as many at a time as there are slots, in the order of the jobs."""
    waiting, outcomes = list(jobs), {}
    while len(outcomes) < len(jobs):
        while waiting and len(jobs) - len(waiting) - len(outcomes) < engine.slots:
            engine.submit(waiting.pop(0))
        outcome = engine.wait()
        outcomes[id(outcome.job)] = outcome
    return [outcomes[id(it)] for it in jobs]


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def wait_until_gone(pids, seconds=10):
    end = time.monotonic() + seconds
    while left := [pid for pid in pids if is_alive(pid)]:
        assert time.monotonic() < end, left
        time.sleep(0.02)


def pids_of(path):
    engine_jobs.wait_for(path)
    return [int(word) for word in path.read_text().split()]


@pytest.fixture(scope="module")
def two():
    """Two processes for all tests that do not look at their beginning or end."""
    with open_engine(jobs=2) as engine:
        yield engine


@pytest.fixture(params=["here", "processes"])
def engine(request, two):
    if request.param == "processes":
        yield two
    else:
        with open_engine() as engine:
            yield engine


def test_results_arrive_from_every_engine(engine):
    outcomes = run(engine, *(job(engine_jobs.add, a=number, b=1) for number in range(4)))
    assert [outcome.result for outcome in outcomes] == [1, 2, 3, 4]
    assert not any(outcome.error or outcome.lost for outcome in outcomes)


@pytest.mark.parametrize("kind", [UserError, RunError, WriteError])
def test_errors_of_the_house_arrive_as_themselves(engine, kind):
    (outcome,) = run(engine, job(engine_jobs.fail, name=kind.__name__, text="mine.csv: no rows"))
    assert type(outcome.error) is kind and str(outcome.error) == "mine.csv: no rows"


def test_an_unexpected_exception_keeps_its_traceback_here():
    with open_engine() as engine, pytest.raises(NameError, match="undefined_name"):
        run(engine, job(engine_jobs.misspell))


def test_an_unexpected_exception_of_another_process_is_one_line_with_its_place(two, tmp_path):
    (outcome,) = run(two, job(engine_jobs.misspell, tmp_path / "log"))
    line = engine_jobs.misspell.__code__.co_firstlineno + 1
    expected = f"NameError: name 'undefined_name' is not defined (engine_jobs.py:{line})"
    assert type(outcome.error) is Fault and str(outcome.error) == expected
    assert "Traceback" in outcome.error.details
    assert "Traceback" in (tmp_path / "log").read_text()  # for who looks there


def test_a_fault_names_the_users_line_not_that_of_a_package(two):
    (outcome,) = run(two, job(engine_jobs.misuse_json))
    line = engine_jobs.misuse_json.__code__.co_firstlineno + 1
    assert str(outcome.error).endswith(f"(engine_jobs.py:{line})")


def test_a_job_that_exits_is_a_fault_and_not_a_death(two, capfd):
    (outcome,) = run(two, job(engine_jobs.leave, code=3))
    assert str(outcome.error).startswith("SystemExit: 3 (engine_jobs.py:")
    assert capfd.readouterr().out == ""


def test_what_cannot_be_pickled_is_said_in_one_line(two):
    with pytest.raises(UserError, match="add: it cannot be handed to another process"):
        two.submit(job(engine_jobs.add, a=lambda: None, b=0))
    (outcome,) = run(two, job(engine_jobs.return_what_cannot_be_pickled))
    assert str(outcome.error).startswith("the result cannot be pickled: ")


def test_output_of_python_descriptors_and_children_goes_to_the_log(two, tmp_path, capfd):
    log = tmp_path / "logs" / "trial.log"
    run(two, job(engine_jobs.shout, log, text="a"))
    run(two, job(engine_jobs.shout, log, text="b"))
    said = ("out", "err", "descriptor 1", "descriptor 2", "child")
    assert log.read_text().splitlines() == [f"{name} {what}" for name in "ab" for what in said]
    assert capfd.readouterr() == ("", "")


def test_only_the_job_of_a_killed_process_is_run_again(two, tmp_path, capfd):
    calls = tmp_path / "calls"
    calls.mkdir()
    undisturbed = job(engine_jobs.wait_for, path=str(tmp_path / "done"))
    two.submit(undisturbed)
    two.submit(job(engine_jobs.die, folder=str(calls), times=2))
    assert two.wait().result == 3  # in the third process
    (tmp_path / "done").touch()
    assert two.wait().job is undisturbed
    line = "die: its process was killed by SIGKILL (often: out of memory); it is run again\n"
    assert capfd.readouterr().out == 2 * line


@pytest.mark.parametrize(
    "function, death",
    [
        (engine_jobs.die, "its process was killed by SIGSEGV, 3 times"),
        (engine_jobs.disappear, "its process ended with exit code 7, 3 times"),
    ],
)
def test_a_job_is_lost_after_three_deaths_and_the_next_one_runs(two, tmp_path, function, death):
    log = tmp_path / "log"
    lost, after = run(
        two,
        job(function, log, folder=str(tmp_path), times=9, number=signal.SIGSEGV),
        job(engine_jobs.add, a=1, b=2),
    )
    assert lost.lost == death and lost.error is None and lost.result is None
    assert after.result == 3
    assert len(list(tmp_path.glob("calls-*"))) == 3
    assert ("engine_jobs.py" in log.read_text()) is (function is engine_jobs.die)  # the crash


def test_a_process_that_dies_between_jobs_is_replaced():
    with open_engine(jobs=1) as engine:
        (first,) = run(engine, job(os.getpid))
        os.kill(first.result, signal.SIGKILL)
        (second,) = run(engine, job(os.getpid))
        assert second.result != first.result
        (third,) = run(engine, job(os.getpid))
    assert third.result == second.result  # else processes live as long as the engine
    wait_until_gone([second.result])


def test_a_signal_that_ends_a_job_ends_the_command(tmp_path):
    with pytest.raises(Stopped, match="SIGTERM"), open_engine(jobs=1) as engine:
        engine.submit(job(engine_jobs.sleep, folder=str(tmp_path), name="a"))
        os.kill(pids_of(tmp_path / "a.pid")[0], signal.SIGTERM)
        engine.wait()


def test_ctrl_c_does_not_reach_the_jobs(tmp_path):
    with open_engine(jobs=1) as engine:
        engine.submit(job(engine_jobs.wait_for, path=str(tmp_path / "done")))
        time.sleep(0.2)
        os.killpg(0, 0)  # the group of this process, which a terminal would interrupt
        (worker,) = engine._workers
        assert os.getpgid(worker._process.pid) != os.getpgrp()
        os.kill(worker._process.pid, signal.SIGINT)
        (tmp_path / "done").touch()
        assert engine.wait().result == worker._process.pid


def test_close_ends_a_job_in_order_and_kills_its_children(tmp_path):
    with open_engine(jobs=2) as engine:
        engine.submit(job(engine_jobs.sleep, folder=str(tmp_path), name="a"))
        pids = pids_of(tmp_path / "a.pid")
    assert (tmp_path / "a.stopped").exists()
    wait_until_gone(pids, seconds=1)


def test_close_kills_what_does_not_end(tmp_path, monkeypatch):
    monkeypatch.setattr(engines.processes, "GRACE", 0.1)
    with open_engine(jobs=1) as engine:
        engine.submit(job(engine_jobs.refuse_to_end, folder=str(tmp_path)))
        pids = pids_of(tmp_path / "pid")
    wait_until_gone(pids, seconds=1)


def test_threads_and_gpus_are_divided(monkeypatch):
    names = ["TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"]
    for name in names:
        monkeypatch.delenv(name, raising=False)
    names += ["CUDA_VISIBLE_DEVICES", "KPIPE_GPU_MEMORY"]
    monkeypatch.setattr(processors, "usable_processors", lambda: 7)
    monkeypatch.setattr(processors, "_gpus", lambda: [("GPU-a", 10_000), ("GPU-b", 10_000)])
    before = dict(os.environ)
    with open_engine(jobs=3) as engine:
        assert engine.threads == 2
        outcomes = run(engine, *(job(engine_jobs.settings, names=names) for _ in range(3)))
    assert {tuple(it.result[0].values()) for it in outcomes} <= {
        ("2", "2", "2", "GPU-a", "4500"),
        ("2", "2", "2", "GPU-b", "4500"),
    }
    assert not any(it.result[1] for it in outcomes)  # TensorFlow is not imported before
    assert dict(os.environ) == before
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "5")
    with open_engine(jobs=2) as engine:
        assert engine.threads == 5


def test_gpus_are_dealt_round(monkeypatch, tmp_path):
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho '0, GPU-a, 8000'\necho '1, GPU-b, 8000'\necho '2, GPU-c, 8000'")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")

    def dealt(processes):
        return [
            (it.get("CUDA_VISIBLE_DEVICES"), it.get("KPIPE_GPU_MEMORY"))
            for it in processors.gpu_settings(processes)
        ]

    assert dealt(2) == [("GPU-a,GPU-c", None), ("GPU-b", None)]
    assert dealt(3) == [("GPU-a", None), ("GPU-b", None), ("GPU-c", None)]
    assert dealt(4) == [(f"GPU-{letter}", "3600") for letter in "abca"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    assert dealt(2) == [("2", "3600")] * 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert dealt(2) == [(None, None)] * 2


def test_a_shared_gpus_memory_is_limited_where_threads_are_fixed(monkeypatch):
    import tensorflow as tf

    from kpipe import environment

    limits = []
    monkeypatch.setenv("KPIPE_GPU_MEMORY", "4500")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    monkeypatch.setattr(
        tf.config,
        "set_logical_device_configuration",
        lambda device, parts: limits.append((device, [part.memory_limit for part in parts])),
    )
    environment.fix_threads()
    assert limits == [("GPU", [4500])]


@pytest.mark.parametrize("jobs", [0, -1])
def test_a_wrong_number_of_jobs_is_refused(jobs):
    with pytest.raises(UserError, match="expected a number of processes"), open_engine(jobs):
        pass


# A script without `if __name__ == "__main__"`, as users write them.
DRIVER = """
import signal
import engine_jobs
from kpipe.engines import Job, open_engine
from kpipe.errors import resumable

print("imported once")
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
with resumable(), open_engine(jobs=2) as engine:
    for name in "ab":
        engine.submit(Job(name, engine_jobs.{function}, {arguments}))
    for _ in range(2):
        print(engine.wait().result)
"""


def start(script, from_stdin=False):
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    with script.open() as text:
        return subprocess.Popen(
            [sys.executable, "-" if from_stdin else script],
            env={**os.environ, "PYTHONPATH": path},
            stdin=text if from_stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


@pytest.mark.parametrize("from_stdin", [False, True])
def test_a_script_needs_no_main_guard(tmp_path, from_stdin):
    script = tmp_path / "script.py"
    script.write_text(DRIVER.format(function="add", arguments='{"a": 1, "b": 2}'))
    process = start(script, from_stdin)
    assert process.communicate(timeout=30)[0].splitlines() == ["imported once", "3", "3"]
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_outlives_its_driver(tmp_path, number):
    script = tmp_path / "script.py"
    arguments = f'{{"folder": {str(tmp_path)!r}, "name": name}}'
    script.write_text(DRIVER.format(function="sleep", arguments=arguments))
    driver = start(script)
    pids = [pid for name in "ab" for pid in pids_of(tmp_path / f"{name}.pid")]
    assert all(is_alive(pid) for pid in pids)
    os.killpg(driver.pid, number)
    said = driver.communicate(timeout=20)[0]
    code = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 1}
    assert driver.returncode == code[number], said
    wait_until_gone(pids, seconds=5)
    assert {path.name for path in tmp_path.glob("*.stopped")} == {"a.stopped", "b.stopped"}
