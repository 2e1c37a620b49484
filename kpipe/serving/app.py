"""The HTTP application: paths, bodies, errors, headers."""

import asyncio
import functools
import importlib.resources
from collections.abc import Callable, Collection

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from . import documents, explanations
from .answers import to_json
from .guard import MODEL, Guard, to_response, wrong_method
from .limits import Refusal, too_busy
from .paths import ROOT, Path, not_found, read_path
from .requests import parse, read
from .server import Result, Server
from .signatures import BYTES
from .sites import Sites
from .versions import Version

# What of a body or an answer is converted at once; more is done in a thread.
_SMALL_BODY = 16_384  # bytes
_SMALL_ANSWER = 2_000  # numbers
_MANY = "too many large requests; try again later"
_CALLS = ("predict", "explain")
_VIEWS = ("", "metadata", "about")
_TOLD = ("body", "pixels", "instances", "deadline")  # limits that a client may have to know
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
}


def application(
    server: Server,
    origins: Collection[str] = (),
    verbose: bool = False,
    hosts: Collection[str] | None = None,
) -> ASGIApp:
    """Returns the application of a server.

    Args:
        server: Models and limits.
        origins: Origins of other pages that may use it, such as "https://example.org"; "*" for any.
        verbose: Whether a line is printed for each request.
        hosts: Names that a request may be for, see `Sites`; None for any.
    """
    handlers = _Handlers(server)
    routes = [
        Route(ROOT + "/{path:path}", handlers.model, methods=["GET", "POST"]),
        Route("/", handlers.page),
        Route("/page/{name}", handlers.page),
        Route("/health", handlers.health),
        Route("/ready", handlers.ready),
        Route("/metrics", handlers.metrics),
        Route("/openapi.json", handlers.openapi),
        Route("/docs", handlers.docs),
        Route(ROOT, handlers.models),
    ]
    router = Router(routes, redirect_slashes=False)
    guarded = Guard(router, server, Sites(hosts, origins), verbose)
    if not (allowed := list(origins)):
        return guarded
    return CORSMiddleware(
        guarded, allow_origins=allowed, allow_methods=["GET", "POST"], allow_headers=["*"]
    )


class _Handlers:
    """What is answered, by path."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._files = _read_page()

    async def page(self, request: Request) -> Response:
        """The page to try the models, and its files."""
        name = request.path_params.get("name", "index.html")
        if name == "index.html" and name not in self._files:
            return RedirectResponse("/docs", 307)
        if name not in self._files:
            raise not_found(f"no file {name[:40]!r}")
        content, media_type = self._files[name]
        return Response(content, media_type=media_type, headers={"cache-control": "no-cache"})

    async def health(self, request: Request) -> Response:
        """Whether the process answers at all."""
        return to_response({"status": "alive"})

    async def ready(self, request: Request) -> Response:
        """Whether requests should be sent here."""
        server = self._server
        if server.ready:
            return to_response({"status": "ready"})
        why = "the server is stopping" if server.stopping else "models are being loaded"
        raise Refusal(503, "not_ready", why, {"retry-after": "1"})

    async def metrics(self, request: Request) -> Response:
        server = self._server
        content, media_type = server.metrics.text(server.models.values(), server.queue.count)
        return Response(content, headers={"content-type": media_type})

    async def openapi(self, request: Request) -> Response:
        return to_response(documents.openapi(self._latest()))

    async def docs(self, request: Request) -> Response:
        page = documents.page(documents.openapi(self._latest()))
        return Response(page, media_type="text/html; charset=utf-8")

    def _latest(self) -> dict[str, Version]:
        found = {name: model.latest for name, model in self._server.models.items()}
        return {name: version for name, version in found.items() if version}

    async def models(self, request: Request) -> Response:
        """All models, and the version of each that answers."""
        listed = [{"name": name, "version": v.number} for name, v in self._latest().items()]
        return to_response({"models": listed})

    async def model(self, request: Request) -> Response:
        """Everything about one model."""
        path = read_path(request.scope["raw_path"], self._server.models)
        request.scope[MODEL] = path.name
        if path.is_call and path.what in ("classify", "regress"):
            raise Refusal(501, "not_found", f"kpipe's models have no {path.what}; use :predict")
        if path.what not in (_CALLS if path.is_call else _VIEWS):
            raise not_found("no such path; expected :predict, :explain, /metadata or /about")
        if path.is_call != (request.method == "POST"):
            raise wrong_method(request.method, "POST" if path.is_call else "GET")
        if path.what == "":
            return self._status(path)
        version = self._version(path)
        if path.is_call:
            answer = await self._call(path, version, request)
            return Response(answer, media_type="application/json")
        if path.what == "about":
            head = {"name": path.name, "versions": sorted(self._server.models[path.name].versions)}
            limits = {name: getattr(self._server.limits, name) for name in _TOLD}
            return to_response({**head, **version.about, "limits": limits})
        spec = {"name": path.name, "signature_name": "", "version": str(version.number)}
        metadata = {"signature_def": {"signature_def": version.definitions}}
        return to_response({"model_spec": spec, "metadata": metadata})

    def _version(self, path: Path) -> Version:
        model = self._server.models[path.name]
        versions = model.versions
        version = model.latest if path.version is None else versions.get(path.version)
        if version:
            return version
        if not versions:
            wait = {"retry-after": "1"}
            raise Refusal(503, "not_ready", f"{path.name} is being loaded; try again later", wait)
        raise not_found(
            f"no version {path.version} of {path.name} is served; expected one of: "
            f"{', '.join(map(str, sorted(versions)))}"
        )

    def _status(self, path: Path) -> Response:
        """The state of each version, as TensorFlow Serving tells it."""
        model = self._server.models[path.name]
        states = {number: ("END", "UNKNOWN", why) for number, why in model.refused.items()}
        if model.loading is not None:
            states[model.loading] = ("LOADING", "OK", "")
        # A damaged version beside the loaded one of the same number is not what answers.
        states |= {number: ("AVAILABLE", "OK", "") for number in model.versions}
        listed = [
            {
                "version": str(number),
                "state": state,
                "status": {"error_code": code, "error_message": message},
            }
            for number, (state, code, message) in sorted(states.items(), reverse=True)
            if path.version in (None, number)
        ]
        if not listed:
            raise not_found(f"no version {path.version or ''} of {path.name} is known")
        return to_response({"model_version_status": listed})

    async def _call(self, path: Path, version: Version, request: Request) -> bytes:
        server = self._server
        body = await _body(request, server)
        size = len(body)
        try:
            if path.what == "explain":
                ask = functools.partial(explanations.read_request, version=version)
                question = await self._read(body, ask)
                del body
                return await server.explain(lambda: explanations.answer(question, version))
            given = await self._read(body, functools.partial(read, signatures=version.signatures))
            del body
            # What it became may be larger, and is held until it is computed.
            kept = max(size, given.size)
            server.body_bytes += kept - size
            size = kept
            if server.body_bytes > server.limits.bodies:
                raise too_busy(_MANY)
            outputs = await version.batcher.compute(given)
        finally:
            server.body_bytes -= size
        numbers = sum(values.size for values in outputs.values())
        return await server.convert(numbers > _SMALL_ANSWER, lambda: to_json(outputs, given.rows))

    async def _read(self, body: bytes, work: Callable[..., Result]) -> Result:
        """Reads a request: in a thread if it is large, or has images, which may be converted."""
        server = self._server
        work = functools.partial(work, limits=server.limits)
        if len(body) > _SMALL_BODY:
            return await server.convert(True, lambda: work(parse(body)))
        content = parse(body)
        return await server.convert(content.get("signature_name") == BYTES, lambda: work(content))


async def _body(request: Request, server: Server) -> bytes:
    """Receives a body; its size is added to the server's `body_bytes`.

    Raises:
        Refusal: It is too large, or comes too slowly.
    """
    limits = server.limits
    close = {"connection": "close"}
    large = Refusal(
        413, "too_large", f"the body is larger than {limits.body:,} bytes; send less at once", close
    )
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Refusal(400, "bad_input", "a compressed body; expected it as it is", close)
    if int(request.headers.get("content-length", 0)) > limits.body:
        raise large
    body = bytearray()
    try:
        while True:
            async with asyncio.timeout(limits.patience):
                message = await request.receive()
            if message["type"] == "http.disconnect":
                raise Refusal(400, "disconnected", "the client has gone")
            part = message.get("body", b"")
            body += part
            server.body_bytes += len(part)
            if len(body) > limits.body:
                raise large
            if server.body_bytes > limits.bodies:
                raise Refusal(503, "full", _MANY, {"retry-after": "1", **close})
            if not message.get("more_body", False):
                return bytes(body)
    except TimeoutError:
        server.body_bytes -= len(body)
        raise Refusal(408, "slow_client", "the body comes too slowly", close) from None
    except BaseException:
        server.body_bytes -= len(body)
        raise


def _read_page() -> dict[str, tuple[bytes, str]]:
    """Reads the files of the page, with their types."""
    folder = importlib.resources.files(__package__) / "page"
    if not folder.is_dir():
        return {}
    return {
        file.name: (file.read_bytes(), _TYPES[suffix])
        for file in folder.iterdir()
        if (suffix := "." + file.name.rpartition(".")[2]) in _TYPES
    }
