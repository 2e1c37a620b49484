"""Runs a server until it is told to stop; drops clients that are too slow."""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from collections.abc import Sequence

from starlette.types import ASGIApp

from ..errors import UserError
from .app import application
from .connections import connection_class
from .server import Server

_BACKLOG = 512  # connections that the system accepts before the server does
_IDLE = 75  # seconds that a connection is kept: longer than proxies keep theirs, most of them 60


def serve(
    server: Server,
    host: str = "127.0.0.1",
    port: int = 8501,
    *,
    origins: Sequence[str] = (),
    hosts: Sequence[str] = (),
    verbose: bool = False,
) -> None:
    """Serves until SIGTERM or Ctrl-C, then answers what was accepted.

    Args:
        server: Models and limits.
        host: Address or name to listen on.
        port: Port; 0 for a free one.
        origins: Origins of other pages that may use it.
        hosts: Names that it is known by, besides `host`; only these, localhost and IP addresses are
            answered, if there are any or only this machine can connect.
        verbose: Whether a line is printed for each request.

    Raises:
        UserError: The port cannot be used, or a model has no version that can be served.
    """
    with _listen(host, port) as listening:
        gc.collect()
        gc.freeze()  # what is imported is not looked through for each version that is freed
        known = {host, *hosts} if hosts or _is_local(listening) else None
        app = application(server, origins, verbose, known)
        asyncio.run(_run(server, listening, host, app))


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, address = found[0]
        return socket.create_server(address, family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"cannot listen on {host}, port {port}: {reason}; choose another --port"
        ) from None


async def _run(server: Server, listening: socket.socket, host: str, app: ASGIApp) -> None:
    import uvicorn

    for name in ("uvicorn", "uvicorn.error"):  # what clients do wrong is counted, not logged
        logging.getLogger(name).setLevel(logging.ERROR)
    config = uvicorn.Config(
        app,
        http=connection_class(server),
        interface="asgi3",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_IDLE,
        timeout_graceful_shutdown=int(server.limits.deadline) + 1,
    )
    http = uvicorn.Server(config)
    http.capture_signals = contextlib.nullcontext  # type: ignore  # signals are handled here
    loop = asyncio.get_running_loop()

    def stop() -> None:
        http.force_exit = server.stopping  # the second time
        server.stopping = http.should_exit = True

    handlers = {
        number: signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    answering = asyncio.create_task(http.serve(sockets=[listening]))
    loading = asyncio.create_task(server.load())
    try:
        await asyncio.wait([answering, loading], return_when=asyncio.FIRST_COMPLETED)
        if loading.done() and not loading.exception():
            _announce(server, listening, host)
            watching = asyncio.create_task(server.watch())
            await answering
            watching.cancel()
    finally:
        http.should_exit = True
        await answering
        server.close()
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if loading.done():
        loading.result()
    if server.stopping:
        server.say("stopped")


def _is_local(listening: socket.socket) -> bool:
    """Whether only this machine can connect."""
    return str(listening.getsockname()[0]).startswith(("127.", "::1"))


def _announce(server: Server, listening: socket.socket, host: str) -> None:
    port = listening.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    server.say(f"http://{shown}:{port} (API: http://{shown}:{port}/docs); Ctrl-C stops it")
    if not _is_local(listening):
        server.say("note: anyone who reaches this port can use the models; there are no passwords")
