"""A server under load, and under requests that are wrong in every way.

    python benchmarks/serving.py saved_models/mnist_mlp
    python benchmarks/serving.py saved_models/mnist_mlp --clients 1,8,32 --seconds 5 --rounds 3
    python benchmarks/serving.py saved_models/mnist_mlp --fuzz 100000

Under load: requests of one example by several clients that keep their connections, beside the bare
call of the SavedModel, one by one and 32 at a time, in turns. `--fuzz` sends valid requests changed
at random (`mutations.py`), with slow clients among them, and counts the answers: none may be a 500
or missing, and the server's memory must not grow.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXAMPLES = 32  # different ones that are sent in turn


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=pathlib.Path, help="folder of a finished run")
    parser.add_argument("--clients", default="1,8,32", metavar="A,B")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--options", default="", help="of kpipe serve, such as '--wait 0'")
    parser.add_argument("--fuzz", type=int, default=0, metavar="N", help="requests")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with started(given.run, *given.options.split()) as port:
        if given.fuzz:
            import mutations

            path, bodies = f"/v1/models/{given.run.name}:predict", bodies_of(given.run)
            if not mutations.fuzz(port, path, bodies, given.fuzz, given.seed, lambda: memory(port)):
                raise SystemExit(1)
            return
        clients = list(map(int, given.clients.split(",")))
        print(table(measure(given.run, port, clients, given.seconds, given.rounds)), flush=True)


@contextlib.contextmanager
def started(run: pathlib.Path, *options: str) -> Iterator[int]:
    """Starts `kpipe serve` on a free port, which it yields; ends it afterwards."""
    command = [sys.executable, "-c", "import sys; from kpipe.cli import main; sys.exit(main())"]
    process = subprocess.Popen(
        [*command, "serve", str(run), "--port", "0", *options],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:2]])},
    )
    try:
        assert process.stdout
        for line in process.stdout:
            if found := re.match(r"http://[^ ]*:(\d+) ", line):
                yield int(found[1])
                return
        raise SystemExit(f"the server of {run} did not start, see above")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def memory(port: int) -> int:
    """Returns the server's resident bytes."""
    return int(metrics(port)["process_resident_memory_bytes"])


def bodies_of(run: pathlib.Path) -> list[bytes]:
    """Returns valid requests of one example each, of the run's golden inputs."""
    from kpipe.export.golden import read_given

    given = read_given(run / "golden.npz", "serving_default", unusual=True) or {}
    bodies = []
    for i in range(EXAMPLES):
        row = {name: plain(values[i]) for name, values in given.items()}
        one = row if len(row) > 1 else next(iter(row.values()))
        bodies.append(json.dumps({"instances": [one]}).encode())
    return bodies


def plain(value: Any) -> Any:
    """Returns a golden value as JSON."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    values = np.asarray(value).tolist()
    return None if values != values else values


def measure(
    run: pathlib.Path, port: int, clients: list[int], seconds: float, rounds: int
) -> dict[str, list[dict[str, float]]]:
    """Measures each way in turns: requests a second, and milliseconds of the 50th and 99th."""
    found: dict[str, list[dict[str, float]]] = {}
    bodies, path = bodies_of(run), f"/v1/models/{run.name}:predict"
    for _ in range(rounds):
        for name, batch in (("call, one by one", 1), ("call, 32 at a time", 32)):
            found.setdefault(name, []).append(in_process(bare, run, batch, seconds))
        for count in clients:
            name = f"HTTP, {count} client{'s' * (count > 1)}"
            before, answered = of_server(port)
            times = in_process(load, bodies, path, port, count, seconds)
            after, now = of_server(port)
            times["cpu"] = 1000 * (after - before) / (now - answered)
            found.setdefault(name, []).append(times)
    return found


def in_process(work: Any, *arguments: Any) -> Any:
    """Returns the result of a function in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(work, arguments)


def bare(run: pathlib.Path, batch: int, seconds: float) -> dict[str, float]:
    """Calls the SavedModel itself."""
    import tensorflow as tf

    from kpipe.export.golden import read_given
    from kpipe.export.loading import load

    model = load(run)
    given = read_given(run / "golden.npz", "serving_default", unusual=True) or {}
    function = model.signatures["serving_default"]
    batches = [
        {name: values[i : i + batch] for name, values in given.items()}
        for i in range(0, EXAMPLES, batch)
    ]
    times: list[float] = []
    until, cpu = time.monotonic() + seconds, time.process_time()
    for i in range(10_000_000):
        started = time.perf_counter()
        outputs = function(**{n: tf.constant(v) for n, v in batches[i % len(batches)].items()})
        {name: value.numpy() for name, value in outputs.items()}
        times.append(time.perf_counter() - started)
        if time.monotonic() > until:
            break
    cpu = 1000 * (time.process_time() - cpu) / (len(times) * batch)
    return {**summary(times[len(times) // 6 :], batch), "cpu": cpu}


def load(
    bodies: list[bytes], path: str, port: int, clients: int, seconds: float
) -> dict[str, float]:
    """Sends requests by several clients at once."""
    requests = [
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        + body
        for body in bodies
    ]

    async def client(which: int, until: float) -> list[float]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        times = []
        for i in range(10_000_000):
            started = time.perf_counter()
            writer.write(requests[(which + i) % len(requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            size = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
            await reader.readexactly(size)
            times.append(time.perf_counter() - started)
            if time.monotonic() > until:
                break
        writer.close()
        return times[len(times) // 6 :]

    async def run_all() -> list[float]:
        until = time.monotonic() + seconds
        found = await asyncio.gather(*(client(i, until) for i in range(clients)))
        return [value for times in found for value in times]

    return summary(asyncio.run(run_all()), 1, clients)


def summary(times: list[float], examples: int, clients: int = 1) -> dict[str, float]:
    """Returns examples a second, and milliseconds of a call."""
    return {
        "a second": examples * clients / statistics.fmean(times),
        "p50": 1000 * float(np.quantile(times, 0.5)),
        "p99": 1000 * float(np.quantile(times, 0.99)),
    }


def table(found: Mapping[str, list[dict[str, float]]]) -> str:
    """Writes the medians of all rounds."""
    head = "| | examples/s | 50 % within ms | 99 % within ms | CPU ms an example |"
    lines = [head, "|---|---|---|---|---|"]
    for name, rounds in found.items():
        middle = {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
        cells = (f"{middle[key]:.2f}" for key in ("p50", "p99", "cpu"))
        lines.append(f"| {name} | {middle['a second']:,.0f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def of_server(port: int) -> tuple[float, float]:
    """Returns the processor time of a server in seconds, and the requests that it answered."""
    found = metrics(port)
    answered = sum(value for name, value in found.items() if name.startswith("kpipe_requests_t"))
    return found["process_cpu_seconds_total"], answered


def metrics(port: int) -> dict[str, float]:
    """Returns the metrics of a server by name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


if __name__ == "__main__":
    main()
