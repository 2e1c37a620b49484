"""`kpipe serve` as a process: slow clients, limits, requests wrong in every way, its end."""

import asyncio
import contextlib
import functools
import importlib.util
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import types
import urllib.request

import pytest
import served

from kpipe import cli
from kpipe.commands import serve as command
from kpipe.serving import running

ROOT = pathlib.Path(__file__).resolve().parent.parent
START = "import sys; from kpipe.cli import main; sys.exit(main())"
PATH = "/v1/models/array:predict"
BODY = b'{"instances": [[1, 2]]}'
POST = b"POST %s HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % (
    PATH.encode(),
    len(BODY),
)
GET = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"
PATIENCE = 0.8  # seconds


@contextlib.contextmanager
def started(*arguments):
    """A server on a free port: the process, its port and its first lines."""
    process = subprocess.Popen(
        [sys.executable, "-c", START, "serve", *map(str, arguments), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip())
            if found := re.match(r"http://127.0.0.1:(\d+) ", line):
                yield process, int(found[1]), lines
                return
        raise AssertionError(process.stderr.read())
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return served.write(tmp_path_factory.mktemp("process") / "array", "array")


@pytest.fixture(scope="module")
def port(run):
    limits = ("--patience", PATIENCE, "--connections", 12, "--max-body", 1, "--deadline", 5)
    with started(run, *limits) as (_, port, lines):
        assert lines[0] == "array: version 1 is served: array 2 -> value"
        yield port


@pytest.fixture
def connected(port):
    """Opens connections, and closes them at the end."""
    opened = []

    def connect():
        opened.append(socket.create_connection(("127.0.0.1", port), 30))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


def answer(connection):
    """Status and content of one answer; what follows is not read."""
    content = b""
    while b"\r\n\r\n" not in content:
        part = connection.recv(4096)
        assert part, f"closed after {content!r}"
        content += part
    head, _, body = content.partition(b"\r\n\r\n")
    size = int(re.search(rb"content-length: (\d+)", head.lower())[1])
    while len(body) < size:
        body += connection.recv(4096)
    return int(head[9:12]), json.loads(body)


def metric(port, name):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as got:
        found = re.search(rf"^{re.escape(name)} (\S+)", got.read().decode(), re.M)
    return float(found[1]) if found else 0.0


def test_it_answers_on_a_connection_that_is_kept(connected):
    connection = connected()
    for _ in range(3):
        connection.sendall(POST + BODY)
        assert answer(connection) == (200, {"predictions": [6.0]})


@pytest.mark.parametrize("part", [b"", b"POST /v1/mod", POST[:-2]], ids=range(3))
def test_a_client_whose_head_does_not_come_is_dropped(connected, port, part):
    before = metric(port, 'kpipe_errors_total{kind="slow_client"}')
    connection = connected()
    connection.sendall(part)
    started = time.monotonic()
    assert connection.recv(100) == b""
    assert time.monotonic() - started > PATIENCE / 2
    assert metric(port, 'kpipe_errors_total{kind="slow_client"}') > before


def test_a_client_whose_body_does_not_come_is_told(connected):
    connection = connected()
    connection.sendall(POST + BODY[:5])
    assert answer(connection) == (408, {"error": "the body comes too slowly"})
    assert connection.recv(100) == b""


def test_a_body_may_come_in_pieces(connected):
    connection = connected()
    for piece in (POST[:20], POST[20:], BODY[:9], BODY[9:]):
        connection.sendall(piece)
        time.sleep(PATIENCE / 5)
    assert answer(connection) == (200, {"predictions": [6.0]})


def test_a_client_that_does_not_read_its_answers_is_dropped(port):
    """It asks again and again for a page; the server stops when 64 KiB are not taken."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", port))
        connection.settimeout(30)
        with pytest.raises(ConnectionError):
            while True:
                connection.sendall(b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n" * 100)


@pytest.mark.parametrize(
    ("unread", "ends_after"),
    [([0], 1), ([90_000] * 2, 1), ([90_000, 80_000], 1), ([90_000, 50_000, 10_000, 10_000], 3)],
)
def test_a_client_that_goes_on_reading_gets_more_time(unread, ends_after):
    """It has to take 32 KiB in each time, until all is taken."""
    from kpipe.serving import connections

    calls, dropped = [], []
    loop = types.SimpleNamespace(call_later=lambda seconds, call: calls.append(call))
    sizes = iter(unread + unread[-1:] * 9)
    timer = connections._Timer(loop, 1.0, lambda: next(sizes), lambda: dropped.append(True))
    timer.start()
    while not dropped:
        calls[-1]()
    assert len(calls) == ends_after


def test_a_large_body_without_a_length_is_not_read_further(connected):
    connection = connected()
    head = (
        b"POST %s HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n" % PATH.encode()
    )
    connection.sendall(head)
    chunk = b"%x\r\n" % 65536 + b" " * 65536 + b"\r\n"
    sent = 0
    with contextlib.suppress(ConnectionError):
        for sent in range(1000):  # noqa: B007
            connection.sendall(chunk)
    assert sent < 500  # of which 16 are read
    status, content = answer(connection)
    assert status == 413 and content["error"].startswith("the body is larger than 1,048,576 bytes")


def test_a_large_body_is_refused_by_its_length(connected):
    connection = connected()
    head = b"POST %s HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9999999\r\n" % PATH.encode()
    connection.sendall(head + b"expect: 100-continue\r\n\r\n")  # as curl asks
    assert answer(connection)[0] == 413


@pytest.mark.parametrize(
    "raw",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"a" * 80_000,
        b"\x16\x03\x01\r\n\r\n",
    ],
    ids=range(3),
)
def test_what_is_not_http_is_answered_in_json(connected, raw):
    connection = connected()
    connection.sendall(raw)
    assert answer(connection) == (400, {"error": "not a valid HTTP request"})


def test_too_many_connections_are_refused_and_others_are_answered(connected):
    kept = [connected() for _ in range(12)]
    full = (503, {"error": "too many connections; try again later"})
    other, probe = connected(), connected()
    other.sendall(POST + BODY)
    assert answer(other) == full and other.recv(100) == b""
    probe.sendall(GET)  # the process is alive, whatever its load
    assert answer(probe) == (200, {"status": "alive"}) and probe.recv(100) == b""
    kept[-1].sendall(POST + BODY)
    assert answer(kept[-1]) == (200, {"predictions": [6.0]})
    more = [connected() for _ in range(33)]
    assert answer(more[-1]) == full  # even before its request


def test_a_connection_is_kept_that_is_idle_for_longer_than_a_slow_client(connected, port):
    """A proxy keeps connections for a minute, and loses what it sends to one that is closed."""
    before = metric(port, 'kpipe_errors_total{kind="slow_client"}')
    connection = connected()
    for _ in range(2):
        connection.sendall(POST + BODY)
        assert answer(connection)[0] == 200
        time.sleep(1.5 * PATIENCE)
    assert metric(port, 'kpipe_errors_total{kind="slow_client"}') == before
    connection.sendall(POST[:9])  # a head has begun
    assert connection.recv(100) == b""
    assert metric(port, 'kpipe_errors_total{kind="slow_client"}') == before + 1


@pytest.mark.parametrize(("idle", "closed"), [((1.0, 9.0, 7.0), 1), ((1.0, 2.0, 3.0), None)])
def test_the_connection_that_is_idle_for_longest_makes_room(idle, closed):
    """If it is idle for five seconds: not one between two requests of a client."""
    from kpipe.serving import Limits, connections

    limits = types.SimpleNamespace(limits=Limits(connections=3), metrics=None)
    kind = connections.connection_class(limits)
    made, ended, opened = [], [], set()
    for i, seconds in enumerate((*idle, None)):
        one = kind.__new__(kind)
        one.connections, one.loop = opened, types.SimpleNamespace(time=lambda: 100.0)
        one.transport = types.SimpleNamespace(is_closing=lambda: False)
        one.timeout_keep_alive_handler = functools.partial(ended.append, i)
        one._idle_since = None if seconds is None else 100.0 - seconds
        opened.add(one)
        made.append(one)
    assert made[-1]._make_room() == (closed is None)
    assert ended == ([] if closed is None else [closed])


def test_requests_that_follow_at_once_are_answered_in_their_order(connected):
    connection = connected()
    connection.sendall(POST + BODY + POST + BODY.replace(b"2", b"3") + POST + BODY)
    content = b""
    while content.count(b"predictions") < 3:
        content += connection.recv(4096)
    assert re.findall(rb"\[([0-9.]+)\]", content) == [b"6.0", b"8.0", b"6.0"]


def test_requests_that_are_wrong_in_every_way_are_never_a_500(port, run, monkeypatch):
    """A short form of `benchmarks/serving.py --fuzz 100000`."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import mutations

    bodies = [json.dumps({"instances": [[0.5, 1]] * n}).encode() for n in (1, 2)]
    bodies.append(b'{"inputs": {"features": [[1, 2]]}, "signature_name": "serving_default"}')
    found, wrong = mutations.send(port, PATH, bodies, 300, seed=int.from_bytes(os.urandom(3)))
    assert not wrong
    assert sum(found.values()) == 300 and {status for _, status in found} >= {200, 400}
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(POST + BODY)
        assert answer(connection)[0] == 200


@pytest.mark.slow  # a server of its own
def test_sigterm_ends_it_when_what_was_accepted_is_answered(run):
    with started(run, "--verbose") as (process, port, _):
        with socket.create_connection(("127.0.0.1", port), 30) as connection:
            connection.sendall(POST + BODY[:9])
            time.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            with pytest.raises(ConnectionError):  # nothing new is accepted
                socket.create_connection(("127.0.0.1", port), 30)
            connection.sendall(BODY[9:])
            assert answer(connection) == (200, {"predictions": [6.0]})
        out, error = process.communicate(timeout=30)
        assert process.returncode == 0
    *_, line, last = out.splitlines()
    assert re.fullmatch(rf"POST {PATH} 200 \d+\.\d ms", line) and last == "stopped"
    assert "Traceback" not in error


def test_other_names_are_refused_unless_they_are_given(connected, run, monkeypatch):
    """Otherwise a web site whose name points to 127.0.0.1 could use the server."""
    connection = connected()
    connection.sendall(GET.replace(b"localhost", b"x.example"))
    status, content = answer(connection)
    assert status == 403 and content["error"].startswith("this server is not known as 'x.example'")
    asked = []
    monkeypatch.setattr(running, "_run", lambda *given: asyncio.sleep(0))
    monkeypatch.setattr(running, "application", lambda *given: asked.append(given[3]))
    for host, hosts, expected in (
        ("127.0.0.1", [], {"127.0.0.1"}),
        ("localhost", ["a.example"], {"localhost", "a.example"}),
        ("0.0.0.0", [], None),
        ("0.0.0.0", ["a.example"], {"0.0.0.0", "a.example"}),
    ):
        running.serve(None, host, 0, hosts=hosts)
        assert asked.pop() == expected


def test_it_ends_although_a_computation_goes_on_that_nobody_waits_for(run, monkeypatch):
    left, working, gone = [], [], threading.Event()
    monkeypatch.setattr(os, "_exit", left.append)

    def serve(server, *_, **__):
        for pool in (server._computing, server._explaining)[: working.pop()]:
            pool.submit(gone.wait, 30)
        server.close()

    monkeypatch.setattr(running, "serve", serve)
    for count, expected in ((0, []), (2, [0])):
        working.append(count)
        assert cli.main(["serve", str(run), "--verbose"]) == 0
        assert left == expected
    gone.set()


def test_it_says_who_can_connect():
    for host, expected in (("127.0.0.1", 1), ("0.0.0.0", 2)):
        lines = []
        with socket.create_server((host, 0)) as listening:
            running._announce(types.SimpleNamespace(say=lines.append), listening, host)
        assert len(lines) == expected and lines[0].startswith(f"http://{host}:")
    assert "anyone who reaches this port can use the models" in lines[1]


# --- the command ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "nothing to serve; expected RUN ..."),
        (["nowhere"], "nowhere: no such folder; expected a run's folder"),
        (["RUN", "RUN"], "are both named 'array'; give one another name: --name OTHER="),
        (["--name", "x"], "--name x: expected NAME=RUN"),
        (["--name", "x=nowhere"], "nowhere: no such folder"),
        (["RUN", "--port", "70000"], "70000: expected a port up to 65535"),
        (["RUN", "--deadline", "0"], "0: expected more than 0"),
        (["RUN", "--queue", "63"], "--max-instances 64 is more than --queue 63"),
        (["RUN", "--max-body", "300"], "--max-body 300 MiB is more than all requests together may"),
        (["RUN", "--host", "256.0.0.1"], "cannot listen on 256.0.0.1, port 8501"),
    ],
)
def test_a_mistake_is_one_line(run, capsys, arguments, error):
    given = [str(run) if argument == "RUN" else argument for argument in arguments]
    assert cli.main(["serve", *given, "--verbose"]) == 2
    assert error in capsys.readouterr().err


def test_a_port_that_is_taken_is_one_line(run, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["serve", str(run), "--port", str(port), "--verbose"]) == 2
    error = f"error: cannot listen on 127.0.0.1, port {port}: Address already in use"
    assert capsys.readouterr().err.startswith(error)


def test_a_damaged_run_ends_the_server_with_one_line(run, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "array")
    (copy / "serving" / "1" / "saved_model.pb").write_bytes(b"x")
    assert cli.main(["serve", str(copy), "--port", "0", "--verbose"]) == 2
    printed = capsys.readouterr()
    assert (
        "saved_model.pb is damaged or changed" in printed.err and len(printed.err.splitlines()) == 1
    )


def test_a_missing_extra_is_named(run, monkeypatch, capsys):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "uvicorn" else found(name)
    )
    assert cli.main(["serve", str(run)]) == 2
    expected = 'error: kpipe serve needs uvicorn: pip install "kpipe[serve]"\n'
    assert capsys.readouterr().err == expected


def test_defaults_of_the_command_are_those_of_python():
    from kpipe.serving import Limits

    given = command.parser().parse(["run"])
    assert command.limits_of(given) == Limits()
