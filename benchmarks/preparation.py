"""Times the preparation of a folder of images, and the second start, against bare decoding.

    python benchmarks/preparation.py [--images 2000] [--turns 5] [--endings jpg,png]

In turns, each on the same files of 320 x 240 pixels, made 64 x 64: kpipe, from the folder that it
has looked at to checked and written arrays; the loop that one would write, a thread for each core
that decodes and resizes; and the same as one compiled tf.data pipeline, which looks neither at EXIF
nor at the size in the header, and writes nothing. Then kpipe opens what it prepared.
"""

import argparse
import contextlib
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from kpipe import quiet

HEIGHT, WIDTH, SIZE = 240, 320, 64
OPERATIONS = {"jpg": "jpeg", "png": "png"}  # of tf.io


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--endings", default=",".join(OPERATIONS), metavar="jpg,png")
    given = parser.parse_args()
    quiet.move_logs()
    for ending in given.endings.split(","):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["KPIPE_HOME"] = f"{folder}/home"
            measure(pathlib.Path(folder), ending, given.images, given.turns)


def measure(folder: pathlib.Path, ending: str, count: int, turns: int) -> None:
    import tensorflow as tf

    from kpipe import data, datasets

    paths = write(folder / "images", ending, count)
    decode = getattr(tf.io, f"decode_{OPERATIONS[ending]}")
    dataset = datasets.image_folder(folder / "images", image_size=SIZE)  # looks at the files
    source = dataset.find("auto", None)

    def prepare(home: str) -> None:
        os.environ["KPIPE_HOME"] = str(folder / home)
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            data.prepare(dataset, source, 0)

    seconds: dict[str, list[float]] = {"kpipe": [], "threads": [], "compiled": [], "again": []}
    for turn in range(turns + 1):  # the first one compiles
        for name, work, *arguments in (
            ("kpipe", prepare, f"home-{turn}"),
            ("threads", by_threads, paths, decode),
            ("compiled", compiled, paths, decode),
            ("again", prepare, f"home-{turn}"),
        ):
            started = time.perf_counter()
            work(*arguments)
            if turn:
                seconds[name].append(time.perf_counter() - started)
    rates = {name: count / statistics.median(values) for name, values in seconds.items()}
    print(f"{ending}, images/s:", ", ".join(f"{name} {rates[name]:,.0f}" for name in rates))
    for name in ("threads", "compiled"):
        ratio = statistics.median(np.divide(seconds[name], seconds["kpipe"]))
        print(f"  kpipe is {ratio:.2f} times as fast as {name}")
    print(f"  opened again in {statistics.median(seconds['again']):.2f} s", flush=True)


def write(folder: pathlib.Path, ending: str, count: int) -> list[str]:
    """Writes images of two classes, smooth with some noise, and returns their paths."""
    import tensorflow as tf

    random, paths = np.random.RandomState(0), []
    encode = getattr(tf.io, f"encode_{OPERATIONS[ending]}")
    for i in range(count):
        small = random.randint(0, 256, (8, 8, 3)).astype(np.float32)
        pixels = tf.image.resize(small, (HEIGHT, WIDTH)) + random.randn(HEIGHT, WIDTH, 3) * 4
        path = folder / "ab"[i % 2] / f"{i}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(tf.saturate_cast(pixels, tf.uint8)).numpy())
        paths.append(str(path))
    return paths


def small(content: Any, decode: Callable[..., Any]) -> Any:
    """Decodes a file, and resizes the middle of the picture."""
    import tensorflow as tf

    side, left = HEIGHT, (WIDTH - HEIGHT) // 2
    image = decode(content, channels=3)[:, left : left + side]
    return tf.cast(tf.image.resize(image, (SIZE, SIZE), antialias=True), tf.uint8)


def by_threads(paths: Sequence[str], decode: Callable[..., Any]) -> None:
    import tensorflow as tf

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        np.stack(list(pool.map(lambda path: small(tf.io.read_file(path), decode).numpy(), paths)))


def compiled(paths: Sequence[str], decode: Callable[..., Any]) -> None:
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices(list(paths)).map(
        lambda path: small(tf.io.read_file(path), decode), num_parallel_calls=tf.data.AUTOTUNE
    )
    np.concatenate(list(dataset.batch(64).as_numpy_iterator()))


if __name__ == "__main__":
    main()
