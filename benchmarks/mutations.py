"""Valid requests, changed at random: to JSON, to bytes, to images, to HTTP, and too slowly sent.

`fuzz` sends them by several processes and counts the answers. A 500, an answer that is not JSON or
none at all are errors.
"""

import base64
import collections
import contextlib
import copy
import json
import multiprocessing
import random
import re
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

import bombs

PROCESSES = 6
WAIT = 45.0  # seconds for an answer: more than a server's deadline
# What may answer a wrong request: a wrong value, site, path, method, a slow body, a large one, no
# such service, and a server that is full.
EXPECTED = {200, 400, 403, 404, 405, 408, 413, 501, 503}
CLOSED = 0  # instead of a status: the connection was closed without an answer

_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAFklEQVR4nGNkYGBgYGBkYGBgYGBiAAIAAKQADHI5J7sA"
    "AAAASUVORK5CYII="
)
_EVIL: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        255,
        256,
        2**31,
        2**63,
        2**64,
        10**30,
        10**400,
        0.5,
        1e39,
        -1e308,
    ),
    *("", "a", "NaN", "\0", "\ud800", "é" * 50, "9" * 400, "2023-02-29", "../../etc/passwd"),
    *([], {}, [[]], [1], [None], {"b64": ""}, {"b64": "!"}, {"b64": 1}, {"b64": "AAAA"}, {"a": 1}),
    *({"b64": "", "x": 1}, [[1, 2], [3]], ["a", 1], "serving_default", "serving_bytes", [0] * 300),
)

Draw = random.Random


def of_json(draw: Draw, content: Any) -> bytes:
    """Changes a value, a key, or the structure."""
    content = copy.deepcopy(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        content = _changed(draw, content, depth=draw.randrange(6))
    return json.dumps(content).encode()


def _changed(draw: Draw, value: Any, depth: int) -> Any:
    if depth and isinstance(value, dict) and value:
        key = draw.choice(list(value))
        value[key] = _changed(draw, value[key], depth - 1)
        return value
    if depth and isinstance(value, list) and value:
        place = draw.randrange(len(value))
        value[place] = _changed(draw, value[place], depth - 1)
        return value
    kind = draw.randrange(8)
    if kind == 0 and isinstance(value, dict) and value:
        del value[draw.choice(list(value))]
        return value
    if kind == 1 and isinstance(value, dict):
        key = draw.choice(["x", "b64", "inputs", "instances", "signature_name", "", "é\n"])
        return {**value, key: copy.deepcopy(draw.choice(_EVIL))}
    if kind == 2 and isinstance(value, list) and value:
        del value[draw.randrange(len(value))]
        return value
    if kind == 3 and isinstance(value, list):
        return value * draw.choice((2, 70))
    if kind == 4:
        return [value]
    if kind == 5:
        return {draw.choice(["b64", "images", "x"]): value}
    return copy.deepcopy(draw.choice(_EVIL))


def of_bytes(draw: Draw, content: Any) -> bytes:
    """Changes the text: bytes, numbers, nesting, keys that occur twice, what is cut off."""
    text = json.dumps(content).encode()
    place = draw.randrange(len(text))
    numbers = [match.span() for match in re.finditer(rb"\d+", text[:5000])] or [(place, place)]
    start, end = draw.choice(numbers)
    some = draw.choice(
        (
            b"NaN",
            b"-Infinity",
            b"1e999",
            b"9" * 5000,
            b"1E400",
            b"-",
            b"0x10",
            b"01",
            b"1.",
            b"null",
        )
    )
    deep = draw.choice((10, 70, 2000, 100_000))
    kinds: list[Callable[[], bytes]] = [
        lambda: text[:place],
        lambda: text[:place] + bytes([draw.randrange(256)]) + text[place + 1 :],
        lambda: text[:place] + draw.randbytes(draw.randrange(20)) + text[place:],
        lambda: text[:start] + some + text[end:],
        lambda: text[:start] + b"[" * deep + b"1" + b"]" * deep + text[end:],
        lambda: text[:start] + b'{"a":' * deep + b"1" + b"}" * deep + text[end:],
        lambda: b"[" * deep,
        lambda: text[:-1] + b"," + text[1:],
        lambda: (
            text[:place]
            + draw.choice((b"\xff", b"\xed\xa0\x80", b"\\ud800", b"\0", b"\xef\xbb\xbf"))
            + text[place:]
        ),
        lambda: text + text,
        lambda: text.decode().encode(draw.choice(("utf-16", "utf-32", "utf-8-sig"))),
        lambda: draw.randbytes(draw.randrange(200)),
        lambda: b" " * draw.randrange(20_000) + text,
    ]
    return draw.choice(kinds)()


def of_image(draw: Draw, content: Any) -> bytes:
    """An encoded image that is damaged, large or none; for models that take no images, too."""
    raw = bytearray(draw.choice(_images()))
    for _ in range(draw.choice((0, 1, 1, 3, 20))):
        if raw:
            raw[draw.randrange(len(raw))] = draw.randrange(256)
    if draw.random() < 0.3:
        del raw[draw.randrange(len(raw) + 1) :]
    if draw.random() < 0.1:  # a header that says that the image is large
        raw[16:24] = draw.randbytes(8)
    if draw.random() < 0.1:
        raw += draw.randbytes(draw.randrange(3000))
    text = base64.b64encode(bytes(raw)).decode()
    if draw.random() < 0.1:
        text = text[: draw.randrange(len(text) + 1)]
    value: Any = {"b64": text}
    values = [value] * draw.choice((1, 1, 1, 2, 65))
    key = draw.choice(("instances", "instances", "inputs"))
    body = json.dumps({"signature_name": "serving_bytes", key: values}).encode()
    return body.replace(b'"b64"', b'"\\u006264"') if draw.random() < 0.1 else body


_made: list[bytes] = []


def _images() -> list[bytes]:
    """Small images in several formats."""
    if not _made:
        import io

        from PIL import Image

        image = Image.linear_gradient("L").resize((40, 30))
        for mode, format in (
            *(("L", "PNG"), ("RGB", "PNG"), ("P", "PNG"), ("RGBA", "PNG"), ("L", "JPEG")),
            *(("RGB", "JPEG"), ("CMYK", "JPEG"), ("P", "GIF"), ("RGB", "BMP"), ("RGB", "WEBP")),
            *(("RGBA", "WEBP"), ("RGB", "TIFF"), ("I;16", "TIFF")),
        ):
            written = io.BytesIO()
            image.convert(mode).save(written, format)
            _made.append(written.getvalue())
        _made.extend([_PNG, b"", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"P6 9 9 255 "])
        _made.extend([bombs.progressive_jpeg(50, 999), bombs.progressive_jpeg(2000, 999)])
        _made.extend([bombs.gif(9999, 9999), bombs.gif(9999, 9999, b""), bombs.png(9)])
        _made.extend([bombs.tiff(3), bombs.tiff(3000), bombs.webp(2000)])
    return _made


def of_http(draw: Draw, path: str, body: bytes) -> bytes:
    """A request whose head is unusual or wrong."""
    size = len(body)
    method = draw.choice(
        ["POST"] * 4
        + ["GET", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE", "x", "PO ST", ""]
    )
    paths = [
        path,
        path,
        path.replace(":predict", ":explain"),
        path.replace(":", "%3a"),
        "/",
        "*",
        path + "?a=b",
    ]
    paths += [
        "/v1/models",
        "/metrics",
        "/ready",
        "/docs",
        "/openapi.json",
        "/page/%00",
        "/page/../app.py",
    ]
    paths += [
        path.replace(":predict", verb)
        for verb in ("", ":classify", "/metadata", "/about", "/versions/9", "/labels/x:predict")
    ]
    paths += [
        path.replace(":predict", "/versions/" + "9" * 400),
        "/%ff%fe",
        "/" + "a" * 9000,
        "http://x/",
        "//",
        "/v1/models/%2e%2e",
        path.replace("/models/", "%2Fmodels/"),
        path.replace("/models/", "/models%2F"),
        path.replace("v1", "%76%31"),
    ]
    line = (
        f"{method} {draw.choice(paths)} HTTP/{draw.choice(['1.1'] * 6 + ['1.0', '2', '0.9', 'x'])}"
    )
    head = [
        line,
        draw.choice(["host: localhost"] * 6 + ["", "host: x", "host: a\r\nhost: b", "host: \xff"]),
    ]
    head.append(
        draw.choice(
            [f"content-length: {size}"] * 8
            + [
                "content-length: -1",
                "content-length: x",
                f"content-length: {size}\r\ncontent-length: 1",
            ]
            + [
                "content-length: 99999999999",
                f"content-length: {size}, {size}",
                "transfer-encoding: gzip",
            ]
            + [f"content-length: {max(0, size - 3)}", "content-length: " + "9" * 30]
        )
    )
    more = [
        "",
        "",
        "x: " + "a" * 70_000,
        "x: \0",
        ": y",
        "connection: close",
        "upgrade: websocket\r\nconnection: upgrade",
    ]
    more += [
        "content-encoding: gzip",
        "expect: 100-continue",
        "content-type: text/xml",
        "origin: http://x",
        "sec-fetch-site: cross-site",
        "x y: z",
        "connection: upgrade",
        "a: b\r\n" * 200,
    ]
    head.append(draw.choice(more))
    raw = "\r\n".join(line for line in head if line).encode("latin-1") + b"\r\n\r\n" + body
    if draw.random() < 0.15:
        raw = chunked(draw, path, body)
    if draw.random() < 0.1:
        place = draw.randrange(len(raw))
        raw = raw[:place] + draw.randbytes(1 + draw.randrange(8)) + raw[place:]
    return raw


def chunked(draw: Draw, path: str, body: bytes) -> bytes:
    """A request without a length; its chunks may be wrong."""
    raw = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    for start in range(0, len(body), 1000):
        part = body[start : start + 1000]
        size = draw.choice(["%x"] * 20 + ["%d", "%xz", "-%x", "%x;a=b"]) % len(part)
        raw += size.encode() + b"\r\n" + part + b"\r\n"
    return raw + draw.choice((b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\na: b\r\n\r\n", b"g\r\n"))


class Connection:
    """A connection that is kept, and opened again when the server has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def send(self, raw: bytes, is_head: bool = False) -> tuple[int, bytes]:
        """Sends a request; returns the status of the answer and its body, or `CLOSED`.

        Raises:
            TimeoutError: There was no answer.
        """
        is_old = self._socket is not None
        try:
            found = self._try(raw, is_head)
        except (ConnectionError, EOFError):
            self.close()
            if not is_old:
                return CLOSED, b""
            try:  # it was closed because it was idle
                found = self._try(raw, is_head)
            except (ConnectionError, EOFError):
                self.close()
                return CLOSED, b""
        status, headers, body = found
        if b"connection: close" in headers:
            self.close()
        return status, body

    def _try(self, raw: bytes, is_head: bool) -> tuple[int, bytes, bytes]:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), WAIT)
        with contextlib.suppress(ConnectionError):  # refused before it was read, but answered
            self._socket.sendall(raw)
        content = b""
        while True:
            while b"\r\n\r\n" not in content:
                content += self._more()
            head, _, content = content.partition(b"\r\n\r\n")
            if b" 100 " not in head[:15]:
                break
        status, headers = int(head[9:12]), head.lower()
        found = re.search(rb"content-length: (\d+)", headers)
        size = int(found[1]) if found and not is_head and status != 204 else 0
        while len(content) < size:
            content += self._more()
        if len(content) > size:  # answers to what was taken for other requests
            self.close()
        return status, headers, content[:size]

    def _more(self) -> bytes:
        assert self._socket
        part = self._socket.recv(65536)
        if not part:
            raise EOFError
        return part

    def close(self) -> None:
        if self._socket:
            self._socket.close()
        self._socket = None


def post(path: str, body: bytes) -> bytes:
    """An ordinary request."""
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


Found = dict[tuple[str, int], int]
KINDS = ("valid", "json", "bytes", "image", "http", "slow")
WEIGHTS = (10, 35, 25, 15, 15, 0.3)


def send(
    port: int, path: str, bodies: Sequence[bytes], count: int, seed: int
) -> tuple[Found, list[str]]:
    """Sends requests one after the other.

    Returns:
        How often each kind had each status, and what was wrong with answers.
    """
    draw, connection = Draw(seed), Connection(port)
    found: Found = collections.Counter()
    wrong: list[str] = []
    contents = [json.loads(body) for body in bodies]
    idle: list[socket.socket] = []
    for _ in range(count):
        (kind,) = draw.choices(KINDS, WEIGHTS)
        which = draw.randrange(len(bodies))
        if kind == "slow":
            _send_slowly(draw, port, post(path, bodies[which]), idle)
            found[kind, CLOSED] += 1
            continue
        if kind == "http":
            raw = of_http(draw, path, bodies[which])
            connection.close()  # what follows would be taken for its rest
        elif kind == "valid":
            raw = post(path, bodies[which])
        else:
            make = {"json": of_json, "bytes": of_bytes, "image": of_image}[kind]
            name = path.replace(":predict", ":explain") if draw.random() < 0.04 else path
            raw = post(name, make(draw, contents[which]))
        try:
            status, body = connection.send(raw, raw.startswith(b"HEAD "))
        except TimeoutError:
            wrong.append(f"no answer within {WAIT:g} s to {raw[:200]!r}")
            connection.close()
            continue
        except ValueError:
            status, body = -1, b""
        if kind == "http":
            connection.close()
        found[kind, status] += 1
        is_right = status in EXPECTED or (kind == "http" and status in (CLOSED, 307))
        is_right &= kind != "valid" or status in (200, 503)
        if is_right and status >= 400 and body:
            is_right = set(json.loads(body)) == {"error"}
        if not is_right:
            wrong.append(f"{kind}: {status} {body[:200]!r} to {raw[:300]!r} ... {raw[-200:]!r}")
    connection.close()
    for opened in idle:
        opened.close()
    return dict(found), wrong


def _send_slowly(draw: Draw, port: int, raw: bytes, idle: list[socket.socket]) -> None:
    """Opens a connection that sends a part of a request and no more; the server must drop it."""
    opened = socket.create_connection(("127.0.0.1", port), WAIT)
    opened.sendall(raw[: draw.randrange(len(raw))])
    idle.append(opened)
    if len(idle) > 4:
        idle.pop(0).close()


def fuzz(
    port: int, path: str, bodies: list[bytes], count: int, seed: int, memory_of: Callable[[], int]
) -> bool:
    """Sends many requests by several processes; prints the answers and the server's memory.

    Args:
        port: Port of the server.
        path: Where valid requests go.
        bodies: Valid requests, which are changed.
        count: Number of requests.
        seed: Of what is changed.
        memory_of: Returns the server's resident bytes.

    Returns:
        Whether all answers are as they must be.
    """
    each = count // PROCESSES
    found: Found = collections.Counter()
    wrong: list[str] = []
    memory = [memory_of()]
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        started = time.monotonic()
        for part in range(10):  # memory is looked at in between
            seeds = [seed + 1000 * part + i for i in range(PROCESSES)]
            given = [(port, path, bodies, max(1, each // 10), one) for one in seeds]
            for counts, errors in pool.starmap(send, given):
                found.update(counts)
                wrong += errors
            memory.append(memory_of())
            print(f"{sum(found.values()):,} requests, {memory[-1] >> 20} MiB", flush=True)
        seconds = time.monotonic() - started
    statuses = sorted({status for _, status in found})
    print("| | " + " | ".join(str(s) if s else "closed" for s in statuses) + " |")
    print("|---" * (1 + len(statuses)) + "|")
    for kind in KINDS:
        print(f"| {kind} | " + " | ".join(f"{found[kind, s]:,}" for s in statuses) + " |")
    print(
        f"{sum(found.values()):,} requests in {seconds:.0f} s; memory {memory[0] >> 20} MiB "
        f"before, {memory[1] >> 20} after the first tenth, {memory[-1] >> 20} after all"
    )
    print(f"{len(wrong)} wrong answers", *wrong[:20], sep="\n")
    return not wrong
