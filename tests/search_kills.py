"""Kills searches at random moments, resumes them, and compares their tables with undisturbed ones.

    python tests/search_kills.py --kills 20 --log kills.jsonl
    python tests/search_kills.py --kills 20 --damage --log damages.jsonl

Every search has dropout, batch normalization and shuffling, and a commit after each step. It is
killed until it ends; then its table must be that of the undisturbed search, but for times, and no
training that had ended may have been trained again. With `--damage` a JSON file of the search is
emptied or cut off after each kill: then at most the training that it was of is repeated.

Processes are forked from one that has imported TensorFlow and not used it.
"""

import argparse
import csv
import json
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback

PIPELINE = '''"""A search to be killed."""
import keras
from kpipe import Trainer, datasets

task, data = "classification", "mnist"


def load_data(hp):
    return datasets.mnist(val_fraction=0.2)


def build_model(hp):
    x = inputs = keras.Input((28, 28, 1))
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(x))
    x = keras.layers.Dense(hp.Int("units", 4, 64, sampling="log"), activation="relu")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(hp.Choice("dropout", [0.0, 0.2, 0.4]))(x)
    model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x))
    optimizer = keras.optimizers.Adam(hp.Float("rate", 1e-4, 1e-1, sampling="log"))
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def build_trainer(hp):
    return Trainer(epochs=4, patience=2, checkpoint_seconds=0.0, monitor="val_accuracy")
'''
OPTIONS = {
    "random": ["--trials", "6"],
    "bayesian": ["--trials", "8"],
    "hyperband": [],
    "grid": ["units=8,32", "rate=0.001,0.01", "dropout=0.0,0.2"],
}
TIMES = ("seconds", "ended")


class Search:
    """A search in a folder of its own; its processes are forked."""

    def __init__(self, work, name, tuner, jobs=None):
        self.folder, self.tuner, self.jobs = work / name, tuner, jobs
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.pipeline = self.folder / "mine.py"
        self.pipeline.write_text(PIPELINE)
        self.seen = {}  # when the result of a training was written, by its path
        self.pid = 0

    @property
    def results(self):
        return next(iter((self.folder / "out").glob("mine*search=*/")), self.folder / "none")

    def start(self):
        self.pid = os.fork()
        if self.pid:
            return
        code = 99
        try:
            log = os.open(self.folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            os.environ["KPIPE_HOME"] = str(self.folder / "home")
            from kpipe import cli, searching

            searching._Search.refit = lambda *_: None  # an ordinary run, which others kill
            command = ["run", str(self.pipeline), "--out", str(self.folder / "out"), "--verbose"]
            command += ["--data", "sample", "--search", self.tuner, *OPTIONS[self.tuner]]
            command += ["--jobs", str(self.jobs)] if self.jobs else []
            code = cli.main(command)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)

    def wait(self, seconds=None):
        """Waits for the end, or for so many seconds; returns the exit code, None if it goes on."""
        began = time.monotonic()
        while seconds is None or time.monotonic() - began < seconds:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        return None

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def note(self):
        """Notes results; returns how many were written again."""
        again = 0
        for path in self.results.glob("trials/*/*/result.json"):
            if not path.read_bytes().endswith(b"}\n"):  # damaged, and not yet replaced
                continue
            written = path.stat().st_mtime_ns
            again += self.seen.get(path, written) != written
            self.seen[path] = written
        return again

    def damage(self, chance):
        """Empties or cuts off a JSON file; returns its name, relative to the search."""
        found = sorted(self.results.rglob("*.json"))
        found = [path for path in found if "checkpoints" not in path.parts]
        if not found:
            return ""
        # Never both records of a search: the next start may be killed before it reads one.
        records = [path for path in found if path.name == "search.json"]
        if any(path.read_bytes()[-2:] != b"}\n" for path in records):
            found = [path for path in found if path not in records]
        path = chance.choice(found)
        content = path.read_bytes()
        path.write_bytes(content[: chance.choice([0, len(content) // 2])])
        self.seen.pop(path, None)  # it will be written again
        return str(path.relative_to(self.results))

    def table(self):
        with open(self.results / "trials.csv") as file:
            rows = list(csv.DictReader(file))
        return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="of each tuner")
    parser.add_argument("--tuners", default="random,bayesian,hyperband,grid")
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--damage", action="store_true")
    parser.add_argument("--log", type=pathlib.Path, required=True)
    given = parser.parse_args()
    import kpipe.cli
    import kpipe.searching  # noqa: F401

    work = pathlib.Path(tempfile.mkdtemp(prefix="search_kills"))
    bad = 0
    for tuner in given.tuners.split(","):
        chance = random.Random(f"{tuner} {given.damage}")
        whole = Search(work, f"{tuner} whole", tuner, given.jobs)
        began = time.monotonic()
        whole.start()
        assert whole.wait() == 0, (whole.folder / "output.txt").read_text()[-3000:]
        duration, expected = time.monotonic() - began, whole.table()
        kills, searches = 0, 0
        while kills < given.kills:
            search, entry = Search(work, f"{tuner} {searches}", tuner, given.jobs), {}
            searches += 1
            here, again, damaged, code = 0, 0, [], None
            while code is None:
                search.start()
                # The last ones of many kills let the search go on.
                wait = chance.uniform(0.3, duration / 3 * (1 + here / 5))
                code = search.wait(wait if kills < given.kills else None)
                again += search.note()
                if code is None:
                    search.kill()
                    again += search.note()
                    kills, here = kills + 1, here + 1
                    if given.damage:
                        damaged.append(search.damage(chance))
            entry = {"tuner": tuner, "search": searches, "kills": here, "code": code}
            entry |= {"trials": len(expected), "repeated": again, "damaged": damaged}
            entry["same"] = code == 0 and search.table() == expected and not again
            bad += not entry["same"]
            with open(given.log, "a") as log:
                log.write(json.dumps(entry) + "\n")
            print(json.dumps(entry), flush=True)
            if entry["same"]:
                shutil.rmtree(search.folder)
            else:
                print(f"kept: {search.folder}, beside {whole.folder}", flush=True)
        print(f"{tuner}: {kills} kills of {searches} searches, {duration:.0f} s each", flush=True)
    if not bad:
        shutil.rmtree(work)
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
