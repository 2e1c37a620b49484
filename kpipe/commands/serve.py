"""`kpipe serve`: answers requests over HTTP."""

import argparse
import contextlib
import importlib.util
import math
import os
import pathlib
import sys
from typing import TYPE_CHECKING

from ..errors import UserError
from .parsing import Parser, add_verbose, check_folder, index, positive, start

if TYPE_CHECKING:
    from ..serving import Limits

SERVE = (
    "Serve finished runs over HTTP, with TensorFlow Serving's REST protocol and a page to try "
    "them. A new version in a run's serving/ is loaded while the old one answers. There are no "
    "passwords: by default only this machine can connect. --verbose also prints a line for each "
    "request."
)
PACKAGES = ("starlette", "uvicorn", "prometheus_client")


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit code."""
    given = parser().parse(arguments)
    if missing := [name for name in PACKAGES if not importlib.util.find_spec(name)]:
        raise UserError(f'kpipe serve needs {", ".join(missing)}: pip install "kpipe[serve]"')
    for run in [*given.runs, *(text.partition("=")[2] for text in given.name)]:
        if run:
            check_folder(run)
    start(given.verbose)
    from ..serving import Server, Settings, names_of
    from ..serving.running import serve

    expand = (str(pathlib.Path(run).expanduser()) for run in given.runs)
    folders = names_of(list(expand), given.name)
    server = Server(folders, Settings(limits_of(given), given.keep, given.trust), given.poll)
    options = {"origins": given.allow_origin, "hosts": given.allow_host, "verbose": given.verbose}
    serve(server, given.host, given.port, **options)
    if server.is_working():  # at what nobody waits for; Python would wait for its threads
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(0)
    return 0


def limits_of(given: argparse.Namespace) -> "Limits":
    """Returns the limits that were given as options."""
    from ..serving import Limits

    return Limits(
        body=given.max_body << 20,
        pixels=int(given.max_pixels * 1e6),
        instances=given.max_instances,
        deadline=given.deadline,
        patience=given.patience,
        queue=given.queue,
        connections=given.connections,
        batch=given.batch,
        wait=given.wait / 1000,
    )


def parser() -> Parser:
    parser = Parser("kpipe serve", "RUN [RUN ...]", SERVE)
    add = parser.add_argument
    add(
        "runs",
        nargs="*",
        metavar="RUN",
        help="folders of finished runs; each is served under its name",
    )
    add(
        "--name",
        action="append",
        default=[],
        metavar="NAME=RUN",
        help="serve a run under another name",
    )
    add(
        "--host",
        default="127.0.0.1",
        metavar="HOST",
        help="address to listen on (default 127.0.0.1)",
    )
    add("--port", type=_port, default=8501, metavar="N", help="port (default 8501; 0: a free one)")
    add(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="other pages that may use it, such as https://example.org (default none)",
    )
    add(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="another name of this server in requests, such as that of a proxy (default: localhost "
        "and IP addresses; any, if other machines can connect)",
    )
    add(
        "--keep",
        type=positive,
        default=2,
        metavar="N",
        help="versions of a run that are served at once, the newest ones (default 2)",
    )
    add(
        "--poll",
        type=_seconds,
        default=1.0,
        metavar="SECONDS",
        help="time between two looks for new versions (default 1)",
    )
    add("--trust", action="store_true", help="load models without checking their operations")
    add_verbose(parser)
    add("-h", "--help", action="help", help="show this help")
    limits = parser.add_argument_group("limits")
    add = limits.add_argument
    add("--max-body", type=positive, default=8, metavar="MIB", help="size of a request (default 8)")
    add(
        "--max-pixels",
        type=_seconds,
        default=25.0,
        metavar="MEGAPIXELS",
        help="size of an encoded image (default 25)",
    )
    add(
        "--max-instances",
        type=positive,
        default=64,
        metavar="N",
        help="examples of a request (default 64)",
    )
    add(
        "--deadline",
        type=_seconds,
        default=30.0,
        metavar="SECONDS",
        help="time for an answer (default 30)",
    )
    add(
        "--patience",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="time for a client that sends or reads nothing (default 10)",
    )
    add(
        "--queue",
        type=positive,
        default=1024,
        metavar="N",
        help="examples that are waiting (default 1024)",
    )
    add(
        "--connections",
        type=positive,
        default=256,
        metavar="N",
        help="open connections (default 256)",
    )
    add(
        "--batch",
        type=positive,
        default=64,
        metavar="N",
        help="examples that are computed at once (default 64)",
    )
    add(
        "--wait",
        type=_milliseconds,
        default=2.0,
        metavar="MILLISECONDS",
        help="time that requests wait for others (default 2; 0: none)",
    )
    return parser


def _port(text: str) -> int:
    port = index(text)
    if port > 65535:
        raise argparse.ArgumentTypeError(f"{text}: expected a port up to 65535")
    return port


def _seconds(text: str) -> float:
    value = _milliseconds(text)
    if not value:
        raise argparse.ArgumentTypeError(f"{text}: expected more than 0")
    return value


def _milliseconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1e6:
        raise argparse.ArgumentTypeError(f"{text}: expected a number from 0, such as 2.5")
    return value
