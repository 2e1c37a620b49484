"""Connections that end when a client is too slow, or when there are too many."""

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any

from .guard import BEYOND
from .server import Server

PROGRESS = 32_768  # bytes of an answer
SPARE = 32  # connections beyond the limit, whose requests are read: for probes
LONG_IDLE = 5.0  # seconds after which a connection is closed for another one


def connection_class(server: Server) -> type[asyncio.Protocol]:
    """Returns uvicorn's HTTP protocol with the limits of a server.

    Uvicorn itself waits for ever for a request's head, and for a client that does not read its
    answer.
    """
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    limits, metrics = server.limits, server.metrics

    class Connection(H11Protocol):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._head = _Timer(self.loop, limits.patience, self._unread, self._give_up)
            self._idle_since: float | None = None
            self._answer = _Timer(self.loop, limits.patience, self._unread, self._drop)

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            # asyncio sets it for sockets of its own only. Without it each answer waits 40 ms.
            opened = transport.get_extra_info("socket")
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            beyond = self._make_room()
            if beyond > 0:
                self.app_state = {**self.app_state, BEYOND: True}
            if beyond > SPARE:
                metrics.count_error("connections")
                self._write(503, "too many connections; try again later")
            self._head.start()

        def _make_room(self) -> int:
            """Returns how many connections are too many, once the one idle for longest ends."""
            if len(self.connections) <= limits.connections:
                return 0
            opened = [
                one
                for one in self.connections
                if isinstance(one, Connection) and not one.transport.is_closing()
            ]
            beyond = len(opened) - limits.connections
            times = {one: one._idle_since for one in opened if one._idle_since is not None}
            oldest = min(times, key=times.__getitem__, default=None)
            if beyond <= 0 or oldest is None or self.loop.time() - times[oldest] < LONG_IDLE:
                return beyond
            oldest.timeout_keep_alive_handler()
            return beyond - 1

        def connection_lost(self, exc: Exception | None) -> None:
            self._head.stop()
            self._answer.stop()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._look()

        def on_response_complete(self) -> None:
            super().on_response_complete()  # which may find that the next request is there
            self._look()

        def _look(self) -> None:
            """Begins or ends the time for a request's head, by what has come of it."""
            self._idle_since = None
            if self.cycle and not self.cycle.response_complete:
                self._head.stop()  # the application receives the body in time
            elif self._is_idle():
                self._head.stop()
                self._idle_since = self.loop.time()
                if self.timeout_keep_alive_task is None:  # it is not, after the rest of a body
                    self.timeout_keep_alive_task = self.loop.call_later(
                        self.timeout_keep_alive, self.timeout_keep_alive_handler
                    )
            elif not self._head.is_running:
                self._head.start()

        def _is_idle(self) -> bool:
            """Whether all requests are answered, the answers taken, and nothing else has come."""
            is_between = self.cycle is not None and self.conn.their_state is h11.IDLE
            is_empty = not self.conn.trailing_data[0] and not self._unread()
            return is_between and is_empty and not self.transport.is_closing()

        def timeout_keep_alive_handler(self) -> None:
            super().timeout_keep_alive_handler()
            self._idle_since = None
            self._head.start()  # the client may not take the end

        def pause_writing(self) -> None:
            super().pause_writing()
            self._answer.start()

        def resume_writing(self) -> None:
            self._answer.stop()
            super().resume_writing()

        def send_400_response(self, msg: str) -> None:
            metrics.count_error("invalid_http")
            self._write(400, "not a valid HTTP request")

        def _write(self, status: int, message: str) -> None:
            """Answers what never reaches the application, and closes."""
            content = json.dumps({"error": message}).encode()
            reason = {400: "Bad Request", 503: "Service Unavailable"}[status]
            retry = "retry-after: 1\r\n" * (status == 503)
            head = (
                f"HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\n{retry}"
                f"content-length: {len(content)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + content)
            self.transport.close()

        def _unread(self) -> int:
            return self.transport.get_write_buffer_size()

        def _give_up(self) -> None:
            if self._is_idle():  # it has taken the answer slowly
                self._look()
            else:
                self._drop()

        def _drop(self) -> None:
            metrics.count_error("slow_client")
            self.transport.abort()

    return Connection


class _Timer:
    """Gives up a client that neither sends a head nor reads its answer.

    Args:
        loop: The event loop.
        seconds: Time for the client.
        unread: Returns the bytes of answers that the client has not taken. As long as it takes
            `PROGRESS` of them in each time, it gets more.
        drop: Closes the connection.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        seconds: float,
        unread: Callable[[], int],
        drop: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._seconds = seconds
        self._unread = unread
        self._drop = drop
        self._left = 0
        self._handle: asyncio.TimerHandle | None = None

    @property
    def is_running(self) -> bool:
        return self._handle is not None

    def start(self) -> None:
        self.stop()
        self._wait(self._unread())

    def stop(self) -> None:
        if self._handle:
            self._handle.cancel()
            self._handle = None

    def _wait(self, unread: int) -> None:
        self._left = unread
        self._handle = self._loop.call_later(self._seconds, self._end)

    def _end(self) -> None:
        unread = self._unread()
        if 0 < unread <= self._left - PROGRESS:
            self._wait(unread)
        else:
            self._handle = None
            self._drop()
