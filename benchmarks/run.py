"""Times kpipe, plain Keras, PyTorch and NumPy in turns on the same trainings.

    python benchmarks/run.py [--workloads gmm,mnist] [--turns 9] [--out FOLDER]
    python benchmarks/run.py --growth

Every contestant has a process of its own, which waits while the others have their turns; a turn is
at least half a second of epochs. Ratios are those of the turns of one round. Before, the losses of
the first steps are compared: all have the same weights, batches and arithmetic.
"""

import argparse
import json
import math
import multiprocessing
import os
import pathlib
import platform
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from contestants import CONTESTANTS, serve

from kpipe import quiet

TURN = 0.5  # seconds, at least
BOUND = 0.05  # a one-sided bound of 95 %, an interval of 90 %
# Relative, of running means of losses: normalization in deep networks amplifies rounding.
TOLERANCE, NORMALIZED_TOLERANCE = 1e-4, 1e-3
# Keras squares the gradients of a word that occurs several times in a batch one by one, and PyTorch
# their sum: the first positions of all texts are equal, so only the first loss can be.
FIRST_LOSS_ONLY = {("transformer", "torch")}
GROWTH = {"examples": (3_200, 12_800, 51_200), "width": (0.25, 1.0, 4.0), "batch": (32, 128, 512)}


class Process:
    """A contestant in a process of its own."""

    def __init__(self, name: str, workload: str):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, name, workload))
        self.process.start()
        theirs.close()
        self.epochs, self.peak = 1, 0

    def ask(self, what: object) -> Any:
        self.connection.send(what)
        try:
            return self.connection.recv()
        except EOFError:
            raise SystemExit("a contestant failed, see above") from None

    def turn(self) -> float:
        """Returns the seconds of an epoch."""
        seconds, self.peak = self.ask(self.epochs)
        return seconds / self.epochs

    def warm_up(self) -> None:
        """Compiles, and finds how many epochs a turn takes."""
        self.connection.send("train")
        self.turn()
        self.epochs = max(1, round(TURN / self.turn() + 0.5))

    def end(self) -> None:
        self.connection.close()
        self.process.join(10)
        self.process.kill()


def check(workload: str, names: Sequence[str]) -> None:
    """Compares the losses of the first steps."""
    found = {}
    for name in names:
        process = Process(name, workload)
        found[name] = process.ask("losses")
        process.end()
    expected = found["keras"]
    for name, losses in found.items():
        last = 1 if (workload, name) in FIRST_LOSS_ONLY else len(losses)
        given = expected[-1:] if len(losses) == 1 else expected[:last]
        tolerance = NORMALIZED_TOLERANCE if workload == "cnn_normalized" else TOLERANCE
        if not np.allclose(losses[:last], given, rtol=tolerance):
            raise SystemExit(f"{workload}: {name} computes {losses}, keras {expected}")


def time_in_turns(workload: str, names: Sequence[str], turns: int) -> dict[str, dict]:
    """Returns the seconds of an epoch, in every turn, and the peak memory of each contestant."""
    processes = {name: Process(name, workload) for name in names}
    for process in processes.values():
        process.warm_up()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(turns):
        order = list(names) if turn % 2 else list(reversed(names))
        for name in order:
            seconds[name].append(processes[name].turn())
    for process in processes.values():
        process.end()
    return {
        name: {"seconds": seconds[name], "peak_bytes": process.peak}
        for name, process in processes.items()
    }


def ratio(slower: Sequence[float], faster: Sequence[float]) -> dict[str, float]:
    """Returns the median ratio of turns with its 90 % interval, from the order of the turns.

    Between the k-th smallest and largest of n lies the median with a probability that the binomial
    distribution gives.
    """
    values = np.sort(np.divide(slower, faster))
    n = len(values)
    cumulative = np.cumsum([_binomial(n, k) for k in range(n + 1)])
    skipped = int(np.searchsorted(cumulative, BOUND, side="right"))
    return {
        "median": float(np.median(values)),
        "low": float(values[max(skipped - 1, 0)]),
        "high": float(values[n - 1 - max(skipped - 1, 0)]),
    }


def _binomial(n: int, k: int) -> float:
    return math.comb(n, k) / 2**n


def bounds() -> dict[str, float]:
    """Measures the machine: GFLOP/s of a matrix product, GB/s of a copy."""
    from kpipe.training.profiling import matrix_peak

    source = np.ones(50_000_000, np.float32)
    target, seconds = np.empty_like(source), []
    for _ in range(5):
        started = time.perf_counter()
        np.copyto(target, source)
        seconds.append(time.perf_counter() - started)
    return {"gflops": matrix_peak(), "copy_gb": 2 * source.nbytes / min(seconds) / 1e9}


def measure(names: Sequence[str], workloads: Sequence[str], turns: int) -> Iterator[dict]:
    """Yields the result of each workload."""
    from workloads import LENGTH, WORKLOADS

    from kpipe.training.flops import step_flops

    for workload in workloads:
        about = WORKLOADS[workload]
        taking = [name for name in names if name != "numpy" or workload == "gmm"]
        print(f"{workload}: {about.about}", flush=True)
        check(workload, taking)
        results = time_in_turns(workload, taking, turns)
        steps = about.examples / about.batch_size
        gflop = step_flops(about.model(), about.batch_size, LENGTH) / 1e9
        ratios = {
            name: ratio(results[name]["seconds"], results["kpipe"]["seconds"])
            for name in taking
            if name != "kpipe"
        }
        for name, result in results.items():
            step = statistics.median(result["seconds"]) / steps
            result |= {"step_ms": 1000 * step, "gflops": gflop / step}
            peak = result["peak_bytes"] / 2**20
            faster = f"{ratios[name]['median']:6.2f} times" if name in ratios else ""
            print(f"  {name:6}{1000 * step:10.3f} ms a step{peak:7.0f} MiB  {faster}", flush=True)
        yield {
            "workload": workload,
            "about": about.about,
            "gflop_a_step": gflop,
            "contestants": results,
            "kpipe_is_faster": ratios,
        }


def growth(names: Sequence[str], turns: int) -> dict[str, dict]:
    """Measures how the cost of mnist's training grows, for every contestant but NumPy."""
    names = [name for name in names if name != "numpy"]
    found = {}
    for what, label, unit in (
        ("examples", "examples", "seconds an epoch"),
        ("width", "hidden units, times 900 and 450", "ms a step"),
        ("batch", "examples of a batch", "ms a step"),
    ):
        points: dict[str, list[float]] = {name: [] for name in names}
        for value in GROWTH[what]:
            os.environ["KPIPE_BENCHMARK"] = json.dumps({what: value})  # read by the processes
            results = time_in_turns("mnist", names, turns)
            steps = 12_800 / (value if what == "batch" else 128)
            scale = 1.0 if what == "examples" else 1000 / steps
            for name in names:
                points[name].append(statistics.median(results[name]["seconds"]) * scale)
            print(f"{what} {value}: {[round(points[name][-1], 4) for name in names]}", flush=True)
        found[what] = {
            "values": GROWTH[what],
            "label": label,
            "unit": unit,
            "contestants": points,
        }
    os.environ.pop("KPIPE_BENCHMARK", None)
    return found


def machine() -> dict[str, object]:
    """Describes the machine and the versions."""
    model = ""
    if os.path.exists("/proc/cpuinfo"):
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        model = next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "")
    packages = ("kpipe", "tensorflow", "keras", "numpy", "torch")
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": model or platform.processor(),
        "usable_processors": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "versions": found,
    }


def main() -> None:
    quiet.move_logs()  # before Keras is imported
    from workloads import WORKLOADS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", default=",".join(WORKLOADS))
    parser.add_argument("--contestants", default=",".join(CONTESTANTS))
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("benchmark"))
    parser.add_argument("--growth", action="store_true", help="how cost grows, for mnist")
    given = parser.parse_args()
    workloads, names = given.workloads.split(","), given.contestants.split(",")
    if unknown := {*workloads} - {*WORKLOADS} | {*names} - {*CONTESTANTS}:
        parser.error(f"{', '.join(sorted(unknown))}: expected {', '.join(WORKLOADS)}")
    try:
        metadata.version("torch")
    except metadata.PackageNotFoundError:
        names = [name for name in names if name != "torch"]
        print("PyTorch is not installed and left out: pip install -e '.[bench]'")
    given.out.mkdir(parents=True, exist_ok=True)
    from report import draw, draw_growth, table

    if given.growth:
        content: dict[str, Any] = {"machine": machine(), "growth": growth(names, given.turns)}
        (given.out / "growth.json").write_text(json.dumps(content, indent=1))
        draw_growth(content["growth"], given.out / "growth.png")
        return
    content = {"machine": machine(), "bounds": bounds(), "turns": given.turns}
    content["results"] = list(measure(names, workloads, given.turns))
    (given.out / "speed.json").write_text(json.dumps(content, indent=1))
    draw(content, given.out / "speed.png")
    print(table(content))


if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    main()
