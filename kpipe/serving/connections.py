"""Connections that end when a client is too slow, or when there are too many."""

import asyncio
import json
import socket

from .server import Server


def connection_class(server: Server) -> type[asyncio.Protocol]:
    """Returns uvicorn's HTTP protocol with the limits of a server.

    Uvicorn itself waits for ever for a request's head, and for a client that does not read its
    answer.
    """
    from uvicorn.protocols.http.h11_impl import H11Protocol

    limits, metrics = server.limits, server.metrics

    class Connection(H11Protocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            # asyncio sets it for sockets of its own only. Without it each answer waits 40 ms.
            opened = transport.get_extra_info("socket")
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if len(self.connections) > limits.connections:
                metrics.count_error("connections")
                self._write(503, "too many connections; try again later")
                return
            self._start_timer()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle and not self.cycle.response_complete:
                self._stop_timer()  # a head is complete; the application receives the body in time

        def on_response_complete(self) -> None:
            self._start_timer()  # for the head of the next request
            super().on_response_complete()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._start_timer()

        def resume_writing(self) -> None:
            self._stop_timer()
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

        def _start_timer(self) -> None:
            self._stop_timer()
            self._timer = self.loop.call_later(limits.patience, self._drop)

        def _stop_timer(self) -> None:
            if self._timer:
                self._timer.cancel()
                self._timer = None

        def _drop(self) -> None:
            if not self.transport.is_closing() or self.transport.get_write_buffer_size():
                metrics.count_error("slow_client")
            self.transport.abort()

    return Connection
