"""Lets a disk be full from the n-th write on, for n = 1, 2, ... until a command passes.

    python tests/full_disk.py CASE FOLDER [STRIDE]

full_disk.c, which is compiled into the folder, makes the writes of Python and of all libraries
fail. Every try is a process of its own, forked from one that has imported TensorFlow. After a
failure the same command is executed on a disk with room.
"""

import csv
import hashlib
import json
import mmap
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent


def build(folder):
    """Compiles full_disk.c; returns the environment of a process on the disk FOLDER/disk."""
    library, state = folder / "full_disk.so", folder / "state"
    source = str(HERE / "full_disk.c")
    command = ["cc", "-shared", "-fPIC", "-O1", "-U_FORTIFY_SOURCE", "-o", str(library), source]
    subprocess.run([*command, "-ldl"], check=True)
    state.write_bytes(bytes(16))
    return {
        **os.environ,
        "LD_PRELOAD": str(library),
        "FULL_DISK": str(state),
        "FULL_DISK_BELOW": str(folder / "disk"),
        "KPIPE_HOME": str(folder / "disk" / "home"),
        "TFDS_DATA_DIR": str(folder / "nothing"),
        "PYTHONPATH": f"{HERE.parent}:{HERE}",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


# --- cases: arguments of the command, and what its result is made of -------------------------


def run_arguments(disk):
    keys = "epochs=2 batch_size=128 checkpoint_seconds=0 hidden_units=2".split()
    return ["run", "logic_gates", *keys, "--out", str(disk / "out")]


def search_arguments(disk):
    keys = "epochs=1 batch_size=128 hidden_units=1,2 --search random --trials 2".split()
    return ["run", "logic_gates", *keys, "--out", str(disk / "out")]


def images_arguments(disk):
    import own_files

    folder = disk.parent / "photos"
    if not folder.exists():
        own_files.photos(folder)
    return ["run", str(folder), "epochs=1", "--out", str(disk / "out")]


def table_arguments(disk):
    path = disk.parent / "houses.csv"
    rows = (f"{i % 7},{'ab'[i % 2]},{1.37 * i:.2f}\n" for i in range(120))
    path.write_text("rooms,kind,price\n" + "".join(rows))
    return ["run", str(path), "target=price", "epochs=1", "--out", str(disk / "out")]


def texts_arguments(disk):
    path = disk.parent / "letters.csv"
    rows = (f"{['good fine', 'bad poor'][i % 2]} text {i},{'ab'[i % 2]}\n" for i in range(120))
    path.write_text("text,kind\n" + "".join(rows))
    return ["run", str(path), "target=kind", "text=text", "epochs=1", "--out", str(disk / "out")]


def mnist_arguments(disk):
    return ["run", "mnist_mlp", "epochs=1", "num_layers=0", "--out", str(disk / "out")]


CASES = {
    "run": run_arguments,
    "search": search_arguments,
    "images": images_arguments,
    "table": table_arguments,
    "texts": texts_arguments,
    "mnist": mnist_arguments,
}
# The cases that are about preparing data end where training begins.
WHOLE = ("run", "search")


def results(disk):
    """What a finished command left, without times."""
    found = {}
    for path in sorted((disk / "out").rglob("*")):
        name = path.relative_to(disk).as_posix()
        if path.name == "run.json":
            record = json.loads(path.read_text())
            found[name] = record["weights_sha256"], record["status"], record["target"]
        elif path.suffix == ".csv":
            with open(path) as file:
                rows = list(csv.DictReader(file))
            times = ("seconds", "ended")
            found[name] = [{k: v for k, v in row.items() if k not in times} for row in rows]
        elif path.name in ("metrics.json", "manifest.json"):
            content = path.read_text()
            found[name] = content if path.name == "metrics.json" else True
    for path in sorted((disk / "home").glob("data/*/*.npy")):
        found[path.relative_to(disk).as_posix()] = digest(path)
    return found


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def loop(case, folder, stride):
    """Prints a line for each problem, and one of counts."""
    from kpipe import (
        cli,
        searching,  # noqa: F401
    )
    from kpipe.experiments import execution, running  # noqa: F401 - imported once for all tries

    disk, before, said = folder / "disk", folder / "before", folder / "said"
    with open(folder / "state", "r+b") as file:
        state = mmap.mmap(file.fileno(), 16)

    def command(fails_from):
        state[:] = struct.pack("qq", 0, fails_from)
        child = os.fork()
        if not child:
            output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(output, 1)
            os.dup2(output, 2)
            code = 99
            try:
                stub(execution, case)
                code = cli.main(arguments)
            except Trained:
                code = 0
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        status = os.waitpid(child, 0)[1]
        return os.waitstatus_to_exitcode(status), struct.unpack("qq", state[:])[0]

    shutil.rmtree(disk, ignore_errors=True)
    (disk / "home").mkdir(parents=True)
    arguments = CASES[case](disk)
    if case == "run":  # other runs stand there, which must not be touched
        arguments.append("--seed=1")
        assert command(0)[0] == 0, said.read_text()
        arguments.pop()
    shutil.copytree(disk, before, dirs_exist_ok=True)
    code, writes = command(0)
    assert code == 0, said.read_text()
    expected, problems, tries, started = results(disk), 0, 0, time.monotonic()
    kept = {path: digest(path) for path in before.rglob("*") if is_artefact(path)}
    for n in range(1, writes + 1, stride):
        shutil.rmtree(disk)
        shutil.copytree(before, disk)
        code, _ = command(n)
        tries += 1
        wrong = complaints(code, said.read_text(), disk)
        wrong += [
            f"{path} was lost"
            for path, before_it in kept.items()
            if not (now := disk / path.relative_to(before)).is_file() or digest(now) != before_it
        ]
        code, _ = command(0)
        if code:
            wrong.append(f"does not resume: {said.read_text()[-300:]}")
        elif (found := results(disk)) != expected:
            keys = {k for k in {*expected, *found} if expected.get(k) != found.get(k)}
            wrong.append(f"other results: {sorted(keys)}")
        wrong += [f"left over: {path}" for path in disk.rglob(".*.part-*")]
        problems += bool(wrong)
        for line in wrong:
            print(f"{case}, write {n} of {writes}: {line}", flush=True)
    seconds = time.monotonic() - started
    print(
        f"full disk, {case}: {tries} of {writes} writes failed, {problems} with a problem, "
        f"{tries - problems} in one line and resumed exactly ({seconds:.0f} s)"
    )


def is_artefact(path):
    return path.is_file() and path.suffix not in (".lock", ".log", ".jsonl", ".html")


def complaints(code, said, disk):
    """What is wrong with the end of a command on a full disk."""
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    wrong = []
    if code != 1:
        wrong.append(f"exit code {code}")
    if "Traceback" in said or "Exception ignored" in said:
        wrong.append(f"a traceback: {said[-700:]}")
    if len(errors) != 1 or str(disk) not in errors[0] or " free " not in errors[0]:
        wrong.append(f"the message is {errors or said[-300:]}")
    return wrong


class Trained(BaseException):
    """The data are prepared, and the case is about them only."""


def stub(execution, case):
    """Leaves out of a run what writes nothing or is another case's."""
    import pytest
    from proving import load_proof

    with pytest.MonkeyPatch.context() as patch:
        proof = load_proof(patch)

    def prove(folder, test_files):
        return json.loads(json.dumps(proof.main(folder, *test_files)))

    def prepared(*_):
        raise Trained

    execution.prove = prove
    if case not in WHOLE:
        execution.Execution._build = prepared


if __name__ == "__main__":
    case, folder, *stride = sys.argv[1:]
    folder = pathlib.Path(folder)
    if "LD_PRELOAD" not in os.environ:
        folder.mkdir(parents=True, exist_ok=True)
        environment = build(folder)
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)
    loop(case, folder, int(stride[0]) if stride else 1)
