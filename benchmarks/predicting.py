"""`kpipe predict` on many inputs, beside bare calls of the SavedModel, in turns.

    python benchmarks/predicting.py RUN IMAGES_OR_TEXTS [--turns 3]

Each contestant is a process of its own that answers first a few inputs and then all of them; the
differences are what the inputs cost after the start, in seconds and in memory. The bare one reads
the files one by one, calls the signature, and throws the answers away; `kpipe predict` looks at
each file, names what is bad, checks the answers and writes them as CSV.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

FEW = 256
BARE = """
import pathlib, sys
import tensorflow as tf
signatures = tf.saved_model.load(sys.argv[1]).signatures
source, count = pathlib.Path(sys.argv[2]), int(sys.argv[3])
is_folder = source.is_dir()
endpoint = signatures["serving_bytes" if is_folder else "serving_default"]
(argument,) = endpoint.structured_input_signature[1]
size = int(sys.argv[4])
if is_folder:
    items = sorted(source.rglob("*.*"))[:count]
    read = lambda path: path.read_bytes()
else:
    items = source.read_bytes().splitlines()[:count]
    read = lambda line: line
for start in range(0, len(items), size):
    endpoint(**{argument: tf.constant([read(item) for item in items[start:start + size]])})
"""


def measure(command: list[str]) -> tuple[float, float]:
    """Runs a command; returns seconds, and its largest resident memory in MB."""
    script = (
        "import json, resource, subprocess, sys; "
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE); "
        "print(json.dumps([done.returncode, done.stderr.decode()[-300:], "
        "resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000]))"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True)
    seconds = time.perf_counter() - started
    code, said, memory = json.loads(done.stdout)
    if code:
        sys.exit(f"{command}: {said}")
    return seconds, memory


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("inputs", type=pathlib.Path, help="a folder of images, or lines of text")
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    served = given.run / "serving"
    latest = served / str(max(int(path.name) for path in served.glob("[0-9]*")))
    with tempfile.TemporaryDirectory() as folder:
        answers, few = pathlib.Path(folder, "answers.csv"), pathlib.Path(folder, "few")
        if given.inputs.is_dir():
            paths = sorted(given.inputs.rglob("*.*"))
            few.mkdir()
            for path in paths[:FEW]:
                (few / path.name).symlink_to(path.absolute())
            count = len(paths)
        else:
            lines = given.inputs.read_bytes().splitlines(keepends=True)
            few.write_bytes(b"".join(lines[:FEW]))
            count = len(lines)
            del lines

        def kpipe(source: pathlib.Path) -> list[str]:
            call = "import sys; from kpipe.cli import main; sys.exit(main())"
            return [
                *(sys.executable, "-c", call, "predict", str(given.run), str(source)),
                *("--csv", str(answers)),
            ]

        def bare(size: int, number: int) -> list[str]:
            return [sys.executable, "-c", BARE, *map(str, (latest, given.inputs, number, size))]

        contestants = {
            "kpipe predict": (kpipe(few), kpipe(given.inputs)),
            "bare, batches of 64": (bare(64, FEW), bare(64, count)),
            "bare, batches of 1,024": (bare(1024, FEW), bare(1024, count)),
        }
        found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in contestants}
        for turn in range(given.turns):
            for name, (start, whole) in contestants.items():
                before, memory_before = measure(start)
                seconds, memory = measure(whole)
                found[name].append((seconds - before, before, memory - memory_before))
                print(f"turn {turn + 1}: {name} {seconds - before:.1f} s", flush=True)
    print(f"\n{count:,} inputs, medians of {given.turns} turns")
    print("| | seconds after the start | a second | start, seconds | MB above the start |")
    print("|---|---|---|---|---|")
    for name, turns in found.items():
        seconds, before, memory = (statistics.median(column) for column in zip(*turns, strict=True))
        print(f"| {name} | {seconds:.1f} | {count / seconds:,.0f} | {before:.1f} | {memory:.0f} |")
    ours, theirs = ([turn[0] for turn in found[name]] for name in list(found)[:2])
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    print(f"kpipe against batches of 64: {statistics.median(ratios):.2f} times the time {ratios}")


if __name__ == "__main__":
    main()
