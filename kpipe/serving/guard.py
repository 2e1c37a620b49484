"""What every answer has: a deadline, a place in the metrics, and headers that protect a browser."""

import asyncio
import json
import time
import traceback

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .limits import Refusal, too_busy
from .paths import ROOT, not_found
from .server import Server, say
from .sites import Sites

BEYOND = "kpipe.beyond"  # key of its state: whether its connection is one too many
PROBES = ("/health", "/ready", "/metrics")  # are answered nevertheless
MODEL = "kpipe.model"  # key of a request's scope: the model that it is about
HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' data: blob:; "
    "frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class Guard:
    """Answers every request in time and in JSON, and counts it."""

    def __init__(self, app: ASGIApp, server: Server, sites: Sites, verbose: bool) -> None:
        self._app = app
        self._server = server
        self._sites = sites
        self._verbose = verbose

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started, status = time.monotonic(), 0
        is_beyond = scope.get("state", {}).get(BEYOND, False)

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = {name for name, _ in message["headers"]}
                message["headers"] = list(message["headers"]) + [
                    (name.encode(), value.encode())
                    for name, value in HEADERS.items()
                    if name.encode() not in given
                ]
                if is_beyond and b"connection" not in given:
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        refusal: Refusal | None = None
        limits = self._server.limits
        scope["app"] = self  # the router raises its errors
        try:
            self._sites.check(scope["method"], dict(scope["headers"]))
            if is_beyond and scope["path"] not in PROBES:
                raise too_busy("too many connections; try again later", "connections")
            async with asyncio.timeout(limits.deadline):
                await self._app(scope, receive, send_with_headers)
        except Refusal as error:
            refusal = error
        except HTTPException as error:
            refusal = _of_router(scope["method"], error)
        except TimeoutError:
            refusal = Refusal(504, "deadline", f"no answer within {limits.deadline:g} seconds")
        except Exception:
            say(traceback.format_exc(), error=True)
            refusal = Refusal(500, "internal", "an error of the server, described in its log")
        if refusal:
            self._server.metrics.count_error(refusal.kind)
            if not status:
                answer = to_response({"error": str(refusal)}, refusal.status, dict(refusal.headers))
                await answer(scope, receive, send_with_headers)
        seconds = time.monotonic() - started
        self._server.metrics.count_request(scope.get(MODEL, ""), status, seconds)
        if self._verbose:
            path = scope.get("raw_path", b"").decode("ascii", "replace")
            self._server.say(f"{scope['method']} {path} {status} {1000 * seconds:.1f} ms")


def _of_router(method: str, error: HTTPException) -> Refusal:
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "GET").split(", ")
        return wrong_method(method, ", ".join(sorted(allowed)))
    return not_found(f"no such path; see /docs, or {ROOT}")


def wrong_method(method: str, allowed: str) -> Refusal:
    message = f"{method} is not answered here; expected {allowed}"
    return Refusal(405, "method", message, {"allow": allowed})


def to_response(
    content: object, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    return Response(text.encode(errors="replace"), status, headers, "application/json")
