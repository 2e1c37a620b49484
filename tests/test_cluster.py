"""Jobs on a Ray cluster of two machines, which are two addresses of this one."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import engine_jobs
import pytest
import tensorflow as tf
from test_engines import DRIVER, job, pids_of, run, wait_until_gone

from kpipe.engines import cluster, open_engine
from kpipe.errors import UserError
from kpipe.predicting import predict

ROOT = pathlib.Path(__file__).parent.parent
PATH = os.pathsep.join([str(ROOT), str(ROOT / "tests")])

# Begins the cluster, and ends it when its standard input is closed.
NODE = """
import json, sys, time
import ray
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
node = cluster.add_node(num_cpus=1)
processes = [it.process.pid for it in node.all_processes["raylet"]]
print(json.dumps({"address": cluster.address, "second": processes}), flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.mark.parametrize("address", ["", "nowhere", "ray://host", "host:port"])
def test_an_address_of_another_form_is_refused(address):
    with pytest.raises(UserError, match="expected HOST:PORT"):
        cluster._check_address(address)


def test_an_address_where_nobody_listens_is_refused_at_once():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(UserError, match=r"nobody answers .*ray start --head"):
            cluster._check_address(f"127.0.0.1:{taken.getsockname()[1]}")


def test_a_missing_ray_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"kpipe\[cluster\]"), open_engine(cluster="auto"):
        pass


@pytest.mark.parametrize(
    "cpus, gpus, places", [(1, 0, 5), (2, 0, 2), (6, 0, 0), (1, 1, 2), (1, 0.5, 4), (3, 1, 1)]
)
def test_room_follows_from_the_scarcer_resource(cpus, gpus, places):
    assert cluster._room({"CPU": 5.0, "GPU": 2.0}, cpus, gpus) == places


def test_a_machine_that_differs_or_does_not_see_the_folder_is_named(monkeypatch, tmp_path):
    class Ray:
        class util:
            get_node_ip_address = staticmethod(lambda: "10.0.0.7")

    monkeypatch.setitem(sys.modules, "ray", Ray)
    perform_there, versions = cluster._code()
    older = versions() | {"keras": "3.0.0"}
    refusal, _ = perform_there(None, [], {}, older, None)
    assert "machine 10.0.0.7" in refusal and "this one 3.0.0" in refusal
    refusal, _ = perform_there(None, [], {}, versions(), tmp_path / "token")
    assert f"10.0.0.7 of the cluster does not see the folder {tmp_path};" in refusal
    (tmp_path / "token").touch()
    assert perform_there(None, [], {}, versions(), tmp_path / "token") == ("", b"")


@pytest.fixture
def two_machines():
    """The cluster's address, and the process ids of its second machine."""
    pytest.importorskip("ray")
    folder = tempfile.mkdtemp(prefix="ray")  # a socket's path must be short
    with subprocess.Popen(
        [sys.executable, "-c", NODE],
        env={
            **os.environ,
            "PYTHONPATH": PATH,
            "RAY_TMPDIR": folder,
            "RAY_USAGE_STATS_ENABLED": "0",
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as nodes:
        try:
            line = next(line for line in nodes.stdout if line.startswith("{"))
            yield json.loads(line)
        finally:
            nodes.communicate("", timeout=60)
            shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_killed_processes_machines_and_drivers_lose_nothing(two_machines, tmp_path, capfd):
    before = signal.getsignal(signal.SIGTERM)
    with open_engine(cluster=two_machines["address"], shared=tmp_path) as engine:
        assert (engine.slots, engine.threads) == (2, 1)
        assert signal.getsignal(signal.SIGTERM) is before  # Ray installs its own
        log = tmp_path / "log"
        added, failed = run(engine, job(engine_jobs.add, a=1, b=2), job(engine_jobs.misspell, log))
        assert added.result == 3 and str(failed.error).startswith("NameError: ")
        assert "Traceback" in log.read_text()
        (again,) = run(engine, job(engine_jobs.die, folder=str(tmp_path), times=2))
        assert again.result == 3
        (lost,) = run(engine, job(engine_jobs.die, folder=str(tmp_path), times=9))
        assert lost.lost.endswith(", 3 times")

        waiting = [
            job(engine_jobs.wait_for, path=str(tmp_path / "done"), seconds=60) for _ in range(2)
        ]
        for it in waiting:
            engine.submit(it)
        for pid in two_machines["second"]:
            os.kill(pid, signal.SIGKILL)
        (tmp_path / "done").touch()
        assert all(engine.wait().result for _ in waiting)
    assert not list(tmp_path.glob(".cluster-*"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_job_outlives_its_driver(two_machines, tmp_path, number):
    script = tmp_path / "script.py"
    arguments = f'{{"folder": {str(tmp_path)!r}, "name": name}}'
    text = DRIVER.format(function="sleep", arguments=arguments)
    script.write_text(text.replace("jobs=2", f"cluster={two_machines['address']!r}"))
    driver = subprocess.Popen([sys.executable, script], env={**os.environ, "PYTHONPATH": PATH})
    workers = [pids_of(tmp_path / f"{name}.pid")[0] for name in "ab"]
    driver.send_signal(number)
    driver.wait(timeout=60)
    wait_until_gone(workers, seconds=20)


def kill_a_worker(killed):
    """Kills the first process that predicts, once it does so."""
    for _ in range(120):
        found = subprocess.run(
            ["pgrep", "-o", "-f", "ray::MapWorker"], capture_output=True, text=True
        )
        if found.stdout:
            time.sleep(2)  # it loads the model
            os.kill(int(found.stdout.split()[0]), signal.SIGKILL)
            killed.append(found.stdout)
            return
        time.sleep(0.5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_predictions_survive_a_killed_process_and_keep_their_order(
    two_machines, finished_run, digits, tmp_path
):
    (tmp_path / "photos").mkdir()
    for i, image in enumerate(digits.test.inputs):
        content = tf.io.encode_png(image).numpy() if i % 50 else b"no image"
        (tmp_path / "photos" / f"{i:03}.png").write_bytes(content)
    answers = {name: tmp_path / name / "answers.csv" for name in ("here", "there")}
    for path in answers.values():
        path.parent.mkdir()
    photos = [tmp_path / "photos"] * 4
    predict(finished_run.folder, photos, csv_file=answers["here"], skip_bad=99)
    killed = []
    killer = threading.Thread(target=kill_a_worker, args=[killed])
    killer.start()
    predict(
        finished_run.folder,
        photos,
        csv_file=answers["there"],
        skip_bad=99,
        cluster=two_machines["address"],
    )
    killer.join()
    assert killed
    assert answers["there"].read_text() == answers["here"].read_text()
    bad = [(path.parent / "bad_files.csv").read_text() for path in answers.values()]
    assert bad[0] == bad[1] and bad[0].count("no image") == 0 and bad[0].count("\n") == 33
