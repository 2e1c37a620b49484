"""Kills runs, resumes them with the same command, and compares them with undisturbed runs.

    python tests/kill_loop.py --kills 300 --runs 60 --log kills.jsonl
    python tests/kill_loop.py --kills 20 --runs 10 --signal both --log signals.jsonl

Every run has a KPIPE_HOME and a data folder of its own, and dropout, batch normalization, shuffling
and augmentation; see `KINDS` for the rest. It is killed at random moments and at aimed ones, see
`AIMS`, until it ends; then its weights, history, metrics and predictions must be those of the
undisturbed run, and its export proven. The control, whose commits lack the states of the seed
generators, must give other weights.

Processes are forked from one that has imported TensorFlow and not used it, which saves the seconds
of each start. The log has one line per finished run; started again, the loop goes on after them.
"""

import argparse
import collections
import contextlib
import hashlib
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

HEAD = "import keras\nfrom kpipe import Trainer, datasets, figures, models, optimizers\n"
COMPILED = """
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model

def build_trainer(hp):
    return Trainer(checkpoint_seconds=0.0, """
# Pipelines, with the name of the data's folder if TFDS prepares the data.
IMAGES = """
task, data, plots = "classification", "mnist", (figures.learning_curves,)

def load_data(hp):
    data = datasets.mnist(val_fraction=0.2)
    return data.augmented(shift=2, rotate=10)

def build_model(hp):
    model = models.cnn((28, 28, 1), 10, filters=(4, 8), pooling="average", dense_units=16,
                       dropout=0.3)"""
KINDS = {
    "images": (
        IMAGES + COMPILED + "batch_size=64, epochs=5, patience=2, reduce_lr_patience=1)\n",
        None,
    ),
    "points": (
        """
task, data, plots = "classification", "gmm", (figures.learning_curves,)

def load_data(hp):
    return datasets.gmm(val_fraction=0.1)

def build_model(hp):
    points = keras.Input((5,), name="points")
    x = keras.layers.BatchNormalization()(keras.layers.Dense(32, activation="relu")(points))
    x = keras.layers.Dropout(0.3)(x)
    x = keras.layers.Dense(5, activation="softmax")(x)
    model = keras.Model(points, {"probabilities": x}, name="points")"""
        + COMPILED
        + "batch_size=64, epochs=4, patience=2, retrain=True)\n",
        "gmm",
    ),
    "tweets": (
        """
task, data, plots = "classification", "tweet_emotions", (figures.learning_curves,)

def load_data(hp):
    return datasets.tweet_emotions(500, 24).augmented(drop_words=0.2)

def build_model(hp):
    model = models.bag_of_embeddings(3, vocabulary_size=500, embedding_dim=16, units=(16,),
                                     dropout=0.3)"""
        + COMPILED
        + "batch_size=64, epochs=5, patience=2, reduce_lr_patience=1)\n",
        "tweet_emotions",
    ),
    "tuned": (
        IMAGES
        + "\n    models.backbone(model).trainable = False"
        + COMPILED
        + "batch_size=64, epochs=3, patience=2, cache_features=True, fine_tune=True, "
        "fine_tune_epochs=2)\n",
        None,
    ),
    # The short form, in the ordinary tests.
    "few": (
        IMAGES.replace("(4, 8)", "(2,)").replace(", rotate=10", "")
        + COMPILED.replace("])", "], run_eagerly=True)")  # no time to trace
        + "batch_size=256, epochs=4, patience=2, reduce_lr_patience=1)\n",
        None,
    ),
}
# Where a kill is aimed, in the order of a run; "random" is anywhere.
AIMS = ("tfds", "cache", "save", "evaluation", "export", "proof", "report")


class Run:
    """One run, in a folder of its own; its processes are forked, see `start`."""

    def __init__(self, work: pathlib.Path, name: str, kind: str, patches=()):
        self.folder, self.kind = work / name, kind
        self.patches = (nothing_after_training, *patches) if kind == "few" else patches
        source, self.data_name = KINDS[kind]
        shutil.rmtree(self.folder, ignore_errors=True)
        self.data, self.home = self.folder / "data", self.folder / "home"
        self.out = self.folder / "out"
        self.data.mkdir(parents=True)
        self.pipeline = self.folder / f"{kind}.py"
        self.pipeline.write_text(f'"""A run to be killed."""\n{HEAD}{source}')
        write_manual_files(self.data, self.data_name)
        self.pid, self.saves, self.proving = 0, set(), False

    @property
    def results(self) -> pathlib.Path:
        return next((p for p in self.out.iterdir() if p.is_dir()), self.out / "none")

    def start(self) -> None:
        """Starts the command in a forked process."""
        self.saves, self.proving = set(), False
        self.pid = os.fork()
        if self.pid:
            return
        code = 99
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            log = os.open(self.folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            os.environ["KPIPE_HOME"] = str(self.home)
            from kpipe import cli

            for patch in self.patches:
                patch()
            where = ["--data-dir", str(self.data)] if self.data_name else ["--data", "sample"]
            command = ["run", str(self.pipeline), "--out", str(self.out), *where, "--verbose"]
            code = cli.main(command)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def ended(self) -> int | None:
        """The exit code, negative for a signal, or None if the process still runs."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def reached(self, aim: str) -> bool:
        """Whether the process is now in this place."""
        if aim == "tfds":
            folder = self.data / str(self.data_name)
            return any("incomplete" in name for name in listed(folder))
        if aim == "cache":
            return any(".part-" in name for name in listed(self.home / "data"))
        results = self.results if self.out.is_dir() else self.out
        if aim == "save":
            parts = ("", "retraining", "fine_tuning")
            names = [n for part in parts for n in listed(results / part / "checkpoints")]
            now = {name for name in names if ".part-" in name}
            self.saves |= now
            return bool(now)
        if aim == "evaluation":
            return (results / "model.keras").exists() and not (results / "predictions.npz").exists()
        if aim == "export":
            return any(name.startswith(".1.part-") for name in listed(results / "serving"))
        proves = self._has_proof()
        self.proving |= proves
        return proves if aim == "proof" else self.proving and not proves

    def passed(self, aim: str) -> bool:
        """Whether no further process of this run will be in this place."""
        results = self.results if self.out.is_dir() else self.out
        if aim == "tfds":
            return (self.data / str(self.data_name) / "1.0.0").exists()
        if aim == "cache":
            return any(not name.startswith(".") for name in listed(self.home / "data"))
        ends = {"save": "model.keras", "evaluation": "predictions.npz"}
        return aim in ends and (results / ends[aim]).exists()

    def _has_proof(self) -> bool:
        with contextlib.suppress(OSError):
            children = pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
            return any(
                b"proof.py" in pathlib.Path(f"/proc/{child}/cmdline").read_bytes()
                for child in children.split()
            )
        return False

    def kill(self, aim: str, chance: random.Random, seconds: float, number: int) -> dict | None:
        """Starts the command and kills it; None if it ended before, else what was done."""
        self.start()
        started, moment = time.monotonic(), chance.uniform(0, seconds)
        saves = chance.randint(1, 3 if self.kind == "few" else 10)
        longest = {"tfds": 0.2, "cache": 0.005, "save": 0.02, "evaluation": 0.1, "export": 0.2}
        delay = chance.uniform(0, longest.get(aim, 1.0))
        while self.ended() is None:
            past = time.monotonic() - started
            there = past >= moment if aim == "random" else self.reached(aim)
            if there and not (aim == "save" and len(self.saves) < saves and past < seconds):
                if aim != "random":
                    time.sleep(delay)
                if self.ended() is not None:
                    return None
                during = next((a for a in AIMS if self.reached(a)), "")
                sent = time.monotonic()
                os.kill(self.pid, number)
                code = self.wait()
                took = round(time.monotonic() - sent, 2)
                if code == 0:  # it ended just before
                    return None
                expected = -number if number == signal.SIGKILL else 128 + number
                if code not in (expected, -number):
                    raise RuntimeError(f"exit code {code} after signal {number}: {self.folder}")
                return {"aim": aim, "during": during, "code": code, "seconds": took}
            time.sleep(0.001)
        return None

    def finish(self) -> dict:
        """Lets the run end; returns what must be equal."""
        self.start()
        if code := self.wait():
            text = (self.folder / "output.txt").read_text()
            raise RuntimeError(f"{self.folder}: exit code {code}: {text[-2000:]}")
        return self.digests()

    def digests(self) -> dict:
        import numpy as np

        results = self.results
        record = json.loads((results / "run.json").read_text())
        rows = [row.split(",") for row in (results / "history.csv").read_text().splitlines()]
        at = rows[0].index("seconds")
        history = [row[:at] + row[at + 1 :] for row in rows]
        with np.load(results / "predictions.npz") as arrays:
            predictions = {n: sha256(arrays[n].tobytes()) for n in arrays if n != "openings"}
        left = [
            p.name for p in self.out.rglob("*") if ".part-" in p.name or p.name == "checkpoints"
        ]
        if record["status"] != "finished" or not record["proof"]["passed"] or left:
            raise RuntimeError(f"{results}: {record['status']}, {record['proof']}, left: {left}")
        return {
            "weights": record["weights_sha256"],
            "history": sha256(json.dumps(history).encode()),
            "metrics": sha256((results / "metrics.json").read_bytes()),
            "predictions": sha256(json.dumps(predictions, sort_keys=True).encode()),
        }


def listed(folder: pathlib.Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write_manual_files(data: pathlib.Path, name: str | None) -> None:
    """Writes the user's own files, which one of kpipe's TFDS builders prepares."""
    import numpy as np
    import scipy.io

    chance = np.random.RandomState(0)
    if name == "gmm":
        folder = data / "downloads" / "manual" / "mat2d"
        folder.mkdir(parents=True)
        content = {}
        for part, count in (("t", 800), ("v", 200)):
            labels = chance.randint(5, size=count)
            content[f"C{part}"] = np.eye(5)[labels].T
            content[f"Y{part}"] = (chance.normal(0, 1, (count, 5)) + 2 * np.eye(5)[labels]).T
        scipy.io.savemat(folder / "GMMData.mat", content)
    elif name == "tweet_emotions":
        folder = data / "downloads" / "manual" / "emotions_technion"
        folder.mkdir(parents=True)
        words = [f"word{i}" for i in range(60)]
        for part, count in (("train", 800), ("test", 200)):
            lines = ["emotion,content"]
            for label in chance.randint(3, size=count):
                own = [*words[20 * label : 20 * label + 20], *words]
                text = " ".join(chance.choice(own, chance.randint(3, 12)))
                lines.append(f"{('happiness', 'neutral', 'sadness')[label]},{text}")
            (folder / f"{part}Emotions.csv").write_text("\n".join(lines) + "\n")


def without_seed_states() -> None:
    """The control: commits lack the seed generators, as those of tf.train.Checkpoint do."""
    import keras

    keras.Model.variables = property(lambda model: model.weights)


def nothing_after_training() -> None:
    """Leaves out export and report, for the short form."""
    from kpipe import report
    from kpipe.experiments import execution

    proof = {"passed": True, "max_difference": 0.0}
    execution.export = lambda *_: None
    execution.check_graph = lambda folder: None
    execution.publish = lambda folder, version: None
    execution.write_golden = lambda *_, **__: None
    execution.prove = lambda folder, test_files: proof
    report.write = lambda *_, **__: None


def import_everything() -> None:
    """Imports what a run needs, so that forks have it; no operation may run."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import matplotlib.pyplot  # noqa: F401
    import scipy.io  # noqa: F401
    import sklearn.linear_model  # noqa: F401
    import tensorflow_datasets  # noqa: F401

    import kpipe.commands.run
    import kpipe.experiments.running  # noqa: F401


def kills_of(run: Run, chance: random.Random, count: int, seconds: float, number: int) -> list:
    """Kills a run so many times, unless it ends before."""
    possible = [aim for aim in AIMS if aim != "tfds" or run.data_name]
    aims = chance.choices(possible, [3 if aim == "save" else 1 for aim in possible], k=count)
    if run.kind == "few":
        aims = ["cache", "save", "save", "save", "save", "evaluation"]
    kills: list[dict] = []
    for aim in sorted(aims, key=AIMS.index):
        if run.kind != "few" and chance.random() < 1 / 3:
            aim = "random"
        elif run.passed(aim):
            aim = chance.choice(["export", "proof", "report"])
        kill = run.kill(aim, chance, 0.5 * seconds, number)
        if kill is None:  # it has ended
            break
        kills.append(kill)
    return kills


def work_off(work, log, numbers, references, kills_per_run, seed, signals) -> None:
    parent = os.getppid()
    for i in numbers:
        if os.getppid() != parent:  # the loop was killed; another one may go on
            return
        chance = random.Random(seed * 100_000 + i)
        kind = list(references)[i % len(references)]
        expected, seconds = references[kind]
        run = Run(work, f"run{i}", kind)
        number = signals[i % len(signals)]
        kills = kills_of(run, chance, kills_per_run, seconds, number)
        found = run.finish()
        same = found == expected
        entry = {"run": i, "kind": kind, "signal": number, "kills": kills, "same": same}
        if not same:
            entry["found"] = found
        append(log, entry)
        print(f"run {i} ({kind}): {len(kills)} kills, {'same' if same else 'DIFFERS'}", flush=True)
        if same:
            shutil.rmtree(run.folder)
        else:  # to be looked at
            shutil.copytree(run.folder, log.with_suffix("") / run.folder.name, dirs_exist_ok=True)


def work_in_parallel(jobs, work, log, numbers, *options) -> None:
    """Divides the runs among forked workers."""
    workers = []
    for job in range(jobs):
        workers.append(os.fork())
        if not workers[-1]:
            code = 1
            try:
                work_off(work, log, numbers[job::jobs], *options)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
    failed = sum(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0 for pid in workers)
    if failed:
        raise RuntimeError(f"{failed} of {jobs} workers failed")


def append(log: pathlib.Path, entry: dict) -> None:
    with open(log, "a") as file:
        file.write(json.dumps(entry) + "\n")


def entries(log: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def control(work: pathlib.Path, log: pathlib.Path, expected: dict, kind: str) -> None:
    """Asserts that the loop notices a state that is left out."""
    run = Run(work, "control", kind, (without_seed_states,))
    chance = random.Random(0)
    while not run.kill("save", chance, 60.0, signal.SIGKILL):
        raise RuntimeError("the control ended before it was killed")
    differs = run.finish()["weights"] != expected["weights"]
    append(log, {"control": kind, "differs": differs})


def loop(log, kills, runs, jobs=1, seed=0, signals=(signal.SIGKILL,), kinds=None) -> str:
    """Runs what the log does not contain yet; returns the summary, or fails."""
    kinds = kinds or [kind for kind in KINDS if kind != "few"]
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kill_loop") as temporary:
        work = pathlib.Path(temporary)
        references = {
            e["reference"]: (e["digests"], e["seconds"]) for e in entries(log) if "reference" in e
        }
        for kind in kinds:
            if kind not in references:
                started = time.monotonic()
                digests = Run(work, "reference", kind).finish()
                references[kind] = digests, round(time.monotonic() - started, 1)
                entry = {"reference": kind, "digests": digests, "seconds": references[kind][1]}
                append(log, entry)
        controlled = "few" in kinds or any("control" in entry for entry in entries(log))
        if signal.SIGKILL in signals and not controlled:
            control(work, log, references[kinds[0]][0], kinds[0])
        per_run = -(-kills // runs)
        while True:
            finished = [entry for entry in entries(log) if "run" in entry]
            done = {entry["run"] for entry in finished}
            missing = kills - sum(len(entry["kills"]) for entry in finished)
            left = [i for i in range(runs) if i not in done]
            if not left and missing > 0:  # some runs ended before they were killed so often
                left = list(range(max(done) + 1, max(done) + 2 + missing // per_run))
            if not left:
                break
            work_in_parallel(jobs, work, log, left, references, per_run, seed, signals)
    return summary(log)


def summary(log: pathlib.Path) -> str:
    """Counts what the log contains."""
    finished = [e for e in entries(log) if "run" in e]
    kills = [kill for entry in finished for kill in entry["kills"]]
    during = collections.Counter(kill["during"] or "training and others" for kill in kills)
    places = ", ".join(f"{count} in {place}" for place, count in during.most_common())
    codes = sorted({kill["code"] for kill in kills})
    slowest = max((kill["seconds"] for kill in kills), default=0)
    same = sum(entry["same"] for entry in finished)
    controls = [e["differs"] for e in entries(log) if "control" in e]
    return (
        f"{len(kills)} kills ({places}) of {len(finished)} runs: {same} ended with the same bits, "
        f"{len(finished) - same} with others; exit codes {codes}, the slowest end {slowest} s; "
        f"{sum(controls)} of {len(controls)} controls differ"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--signal", choices=("kill", "both"), default="kill")
    parser.add_argument("--kinds", nargs="*", choices=list(KINDS))
    parser.add_argument("--log", type=pathlib.Path, default=pathlib.Path("kills.jsonl"))
    given = parser.parse_args()
    signals = (signal.SIGTERM, signal.SIGINT) if given.signal == "both" else (signal.SIGKILL,)
    import_everything()
    told = loop(given.log, given.kills, given.runs, given.jobs, given.seed, signals, given.kinds)
    print(told)
    bad = [e for e in entries(given.log) if not e.get("same", True) or not e.get("differs", True)]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
