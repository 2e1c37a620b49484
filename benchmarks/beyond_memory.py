"""Trains on a set three times as large as the memory that the process may use.

    python benchmarks/beyond_memory.py [--gib 1] [--folder DIR] [--limit data]

The limit holds for the page cache too where a control group can be made below that of this process
(as root), else for the process' data alone (RLIMIT_DATA), as with `--limit data`. The file's pages
are dropped from the cache before each measurement, and each is read once. Images are random.
Printed: images per second by the memory map, by threads, of kpipe's batches, and of the file in
order, which is the disk's own rate; then of an epoch, with the peak of the process' own memory.
"""

import argparse
import contextlib
import os
import pathlib
import resource
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

SHAPE = (128, 128, 3)
ROW = 128 * 128 * 3
BATCH, BATCHES = 128, 12
# By the controllers in /proc/self/cgroup, of version 2 and 1: folder, file of the limit.
GROUPS = {
    "": ("/sys/fs/cgroup", "memory.max"),
    "memory": ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
}


@contextlib.contextmanager
def limited(limit: int, by: str) -> Iterator[str]:
    """Limits the memory of this process; yields how."""
    lines = pathlib.Path("/proc/self/cgroup").read_text().splitlines() if by == "group" else []
    for _, controllers, own in (line.split(":", 2) for line in lines):
        if controllers not in GROUPS:
            continue
        root, name = GROUPS[controllers]
        # Below its own group, whose limits still hold, and to which it returns.
        group = pathlib.Path(root) / own[1:] / f"kpipe-benchmark-{os.getpid()}"
        try:
            group.mkdir(exist_ok=True)
            # What is in use stays with the group before.
            (group / name).write_text(str(limit))
            (group / "cgroup.procs").write_text(str(os.getpid()))
        except OSError:
            with contextlib.suppress(OSError):
                group.rmdir()
            continue
        try:
            yield f"cgroup, {name}"
        finally:
            (group.parent / "cgroup.procs").write_text(str(os.getpid()))
            with contextlib.suppress(OSError):
                group.rmdir()
        return
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_status("VmData") + limit, before[1]))
    try:
        yield "RLIMIT_DATA"
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gib", type=float, default=1.0, help="memory beyond what is in use")
    parser.add_argument("--folder", type=pathlib.Path, default=None)
    parser.add_argument("--limit", choices=("group", "data"), default="group")
    given = parser.parse_args()
    from kpipe import Trainer, models
    from kpipe.data import Data, Split
    from kpipe.datasets import Augmentation
    from kpipe.inputs import ImageInput, Rows, rows_on_disk
    from kpipe.inputs.arrays import load_array
    from kpipe.training.batches import Schedule, training_batches

    limit = int(given.gib * 2**30)
    count = 3 * limit // ROW
    folder = pathlib.Path(tempfile.mkdtemp(dir=given.folder))
    try:
        path = folder / "train_inputs.npy"
        write(path, count)
        print(f"{count:,} images, {count * ROW / 2**30:.1f} GiB; memory {given.gib:g} GiB")
        values = load_array(path)
        order = np.random.RandomState(0).permutation(count)[: BATCH * BATCHES]
        batches = order.reshape(BATCHES, BATCH)
        with limited(limit, given.limit) as how:
            print(f"limit by {how}; {rows_on_disk.available_memory() / 2**30:.1f} GiB available")
            whole = rate(path, lambda: sequential(path, len(order)), len(order))
            threads = rate(
                path, lambda: [rows_on_disk.read_rows(values, b) for b in batches], len(order)
            )
            rows_on_disk._is_large.cache_clear()
            if how == "RLIMIT_DATA":  # which counts what was in use before, too
                rows_on_disk.available_memory = lambda: limit
            split = Split(Rows(values), np.arange(count) % 2, np.arange(count), ImageInput(SHAPE))
            schedule = Schedule(count, BATCH)
            ready = training_batches(split, schedule, Augmentation(), 0, 0, 1).take(4 * BATCHES)
            fed = rate(path, lambda: list(map(len, ready)), 4 * len(order))
            mapped = rate(path, lambda: [np.asarray(values[b]) for b in batches[:2]], 2 * BATCH)
            print(
                f"images/s: memory map {mapped:,.0f}, threads {threads:,.0f}, "
                f"batches {fed:,.0f}, in order {whole:,.0f}"
            )
            model = models.cnn(SHAPE, 2, filters=(4,), dense_units=0, pooling="average")
            model.compile("sgd", "sparse_categorical_crossentropy")
            data = Data("random", "own", False, "", "", (), SHAPE, Augmentation(), {"train": split})
            drop(path)
            before, peak = _status("RssAnon"), Peak()
            peak.start()
            began = time.perf_counter()
            trainer = Trainer(epochs=1, batch_size=BATCH, monitor="loss", patience=0)
            history = trainer.fit(model, data)
            seconds = time.perf_counter() - began
            peak.ended.set()
            print(
                f"an epoch: {count / seconds:,.0f} images/s, {history.waiting_seconds:.1f} of "
                f"{seconds:.1f} s waiting for data; own memory at most "
                f"{peak.bytes / 2**20:,.0f} MiB, {before / 2**20:,.0f} before"
            )
    finally:
        shutil.rmtree(folder)


def write(path: pathlib.Path, count: int) -> None:
    """Writes random images, a block at a time."""
    random = np.random.default_rng(0)
    array = np.lib.format.open_memmap(path, "w+", np.uint8, (count, *SHAPE))
    for start in range(0, count, 512):
        size = min(512, count - start)
        array[start : start + size] = random.integers(0, 256, (size, *SHAPE), np.uint8)
    array.flush()


def sequential(path: pathlib.Path, count: int) -> None:
    with open(path, "rb", buffering=0) as file:
        for _ in range(count // BATCH):
            file.read(BATCH * ROW)


def rate(path: pathlib.Path, work: Callable[[], object], images: int) -> float:
    """Returns images per second with nothing of the file in memory before."""
    drop(path)
    began = time.perf_counter()
    work()
    return images / (time.perf_counter() - began)


def drop(path: pathlib.Path) -> None:
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


def _status(key: str) -> int:
    """Returns bytes of this process: "RssAnon" without files, "VmData" as RLIMIT_DATA counts."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


class Peak(threading.Thread):
    """Watches the memory of this process without files, every 20 ms."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes, self.ended = _status("RssAnon"), threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.02):
            self.bytes = max(self.bytes, _status("RssAnon"))


if __name__ == "__main__":
    main()
