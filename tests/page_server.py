"""A server for tests of the page of `kpipe serve`: it answers as the real one, without models."""

import base64
import contextlib
import http.server
import io
import json
import pathlib
import threading
import time
import urllib.parse

PAGE = pathlib.Path(__file__).parents[1] / "kpipe" / "serving" / "page"
POLICY = "default-src 'self'; img-src 'self' data: blob:"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
EVIL = "<img src=x onerror=\"window.wasAttacked = 'yes'\">"

LIMITS = {"body": 8 << 20, "pixels": 25_000_000, "instances": 64, "deadline": 30.0}
SHELL = 'say "$HOME" `id` \\ it\'s'


def _about(name, task, given, outputs, **more):
    return {
        "name": name,
        "version": 1,
        "versions": [1],
        "task": task,
        "title": f"A model named {name}.",
        "data": f"{name} (real data)",
        "headline": {
            "name": "accuracy",
            "value": 0.9866,
            "low": 0.9842,
            "high": 0.9887,
            "n": 10000,
        },
        "input": given,
        "outputs": outputs,
        "labels": [],
        "calibrated": "calibrated" in outputs,
        "coverage": 0.9 if "prediction_set" in outputs else None,
        "code_size": None,
        "latents": None,
        "explains": [],
        **more,
    }


CLASSES = ["calibrated", "label", "prediction_set", "probabilities"]
COLUMNS = [
    {"name": "area", "kind": "number", "choices": None, "example": 40.400001525878906},
    {"name": "town", "kind": "category", "choices": ["Aston", "Bray"], "example": "Bray"},
    {"name": "built", "kind": "date", "choices": None, "example": "1996-02-03"},
    {"name": "garden" + "n" * 60, "argument": "garden", "kind": "boolean", "example": 1.0},
    {"name": EVIL, "argument": "evil", "kind": "number", "choices": None, "example": 1.0},
]
MODELS = {
    about["name"]: about
    for about in [
        _about(
            "digits_mnist",
            "classification",
            {"kind": "image", "shape": [28, 28, 1]},
            CLASSES,
            labels=list("0123456789"),
            explains=["integrated_gradients"],
            versions=[1, 2],
            version=2,
        ),
        _about(
            "faces",
            "multilabel",
            {"kind": "image", "shape": [32, 32, 3]},
            ["calibrated", "label", "probabilities"],
            labels=[EVIL, SHELL, "L" * 70, *(f"A_label_{i}" for i in range(9))],
            title=EVIL,
            explains=["grad_cam", "integrated_gradients"],
        ),
        _about(
            "reviews,seed=1",
            "classification",
            {"kind": "text"},
            CLASSES,
            labels=["negative", "positive"],
            data="reviews (sample data)",
            explains=["erasure", "integrated_gradients"],
        ),
        _about(
            "houses",
            "regression",
            {"kind": "table", "columns": COLUMNS},
            ["value"],
            headline={"name": "mae", "value": 24040.9, "low": None, "high": None, "n": 24},
            explains=["erasure"],
        ),
        _about(
            "points",
            "classification",
            {"kind": "array", "shape": [2]},
            CLASSES,
            labels=["0", "1"],
            explains=["erasure"],
        ),
        _about(
            "vae",
            "reconstruction",
            {"kind": "image", "shape": [8, 8, 1]},
            ["code", "reconstruction"],
            code_size=5,
            latents={"continuous": 2, "discrete": [3], "has_prior": True},
        ),
    ]
}


class Server(http.server.ThreadingHTTPServer):
    """Answers requests of the page.

    Attributes:
        asked: The path and body of each POST request.
        answers: Status, headers and JSON of the next answers to POST requests, before ordinary
            ones; None for an ordinary one.
        delays: Seconds before each of the next answers to POST requests.
        limits: What a request may contain, see `kpipe.serving.limits`.
        models: Descriptions by name.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = f"http://127.0.0.1:{self.server_address[1]}/"
        self.reset()

    def reset(self):
        """Forgets what was asked, and what is to be answered."""
        self.asked, self.answers, self.delays = [], [], []
        self.limits, self.models = LIMITS, dict(MODELS)

    def change(self, name, **more):
        """Replaces the latest version of a model."""
        self.models[name] = self.models[name] | {"version": 2, "versions": [1, 2]} | more


@contextlib.contextmanager
def running():
    """Runs a server in a thread."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        models = self.server.models
        if path == "/" or path.startswith("/page/"):
            file = PAGE / (path.removeprefix("/page/") if path != "/" else "index.html")
            self.send(200, file.read_bytes(), TYPES[file.suffix])
        elif path == "/v1/models":
            listed = [{"name": name, "version": each["version"]} for name, each in models.items()]
            self.send_json(200, {"models": listed})
        else:
            name, version, what = _split(path)
            if what == "about" and name in models:
                about = models[name] | {"limits": self.server.limits}
                self.send_json(200, about | ({"version": int(version)} if version else {}))
            else:
                self.send_json(404, {"error": f"no model {name!r} is served"})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        path = urllib.parse.unquote(self.path)
        content = json.loads(body)
        server = self.server
        server.asked.append((path, content))
        if server.delays:
            time.sleep(server.delays.pop(0))
        told = server.answers.pop(0) if server.answers else None
        if told:
            self.send_json(told[0], told[2], told[1])
            return
        name, _, what = _split(path)
        try:
            _check(content["instances"], len(body), server.limits)
            answer = _explain if what == "explain" else _predict
            self.send_json(200, answer(server.models[name], content))
        except ValueError as error:
            self.send_json(400, {"error": str(error)})

    def send_json(self, status, content, headers=()):
        self.send(status, json.dumps(content).encode(), "application/json", dict(headers))

    def send(self, status, content, media_type, headers=None):
        self.send_response(status)
        for name, value in ((headers or {}) | {"Content-Security-Policy": POLICY}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"{media_type}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(content)


def _check(instances, size, limits):
    if size > limits["body"] or len(instances) > limits["instances"]:
        raise ValueError("the request is too large")
    pixels = 0
    for i, value in enumerate(instances):
        if isinstance(value, dict) and "b64" in value:
            width, height = _pixels(value["b64"], i).size
            pixels += width * height
            if width * height > limits["pixels"] or pixels > 4 * limits["pixels"]:
                raise ValueError(f"instances[{i}]: too many megapixels")


def _split(path):
    """Splits /v1/models/NAME[/versions/N][:WHAT] or [/WHAT]."""
    name, _, what = path.removeprefix("/v1/models/").partition(":")
    parts = name.split("/")
    if not what and len(parts) in (2, 4):
        what = parts.pop()
    return parts[0], parts[2] if len(parts) == 3 else "", what


def _predict(about, content):
    signature = content.get("signature_name", "serving_default")
    return {"predictions": [
        _answer(about, signature, value, i) for i, value in enumerate(content["instances"])
    ]}  # fmt: skip


def _answer(about, signature, value, i):
    if signature == "serving_bytes":
        pixels = _pixels(value["b64"], i)
        if about["task"] == "reconstruction":
            grey = pixels.convert("L").resize((8, 8))
            rows = [[[grey.getpixel((x, y)) / 255] for x in range(8)] for y in range(8)]
            return {"code": [1.5, -0.25, 0.0, 1.0, 0.0], "reconstruction": rows}
    if signature == "decode":
        return [[[min(max((value[0] + 3) / 6, 0), 1)]] * 8] * 8  # z1 is the brightness
    if about["task"] == "regression":
        return 2000.5 * (value["area"] or 0)
    count = len(about["labels"])
    weights = [2.0**-k for k in range(count)]
    probabilities = [weight / sum(weights) for weight in weights]
    answer = {
        "label": about["labels"][0],
        "probabilities": probabilities,
        "calibrated": [(p + 1 / count) / 2 for p in probabilities],
        "prediction_set": [k < 2 for k in range(count)],
    }
    return {name: answer[name] for name in about["outputs"]}


def _pixels(text, i):
    from PIL import Image

    try:
        return Image.open(io.BytesIO(base64.b64decode(text)))
    except OSError:
        raise ValueError(f"instances[{i}]: not an image of a known format") from None


def _explain(about, content):
    (value,) = content["instances"]
    labels = about["labels"]
    target = content.get("target") or (labels[0] if labels else "value")
    head = {"target": target, "score": 0.75, "unit": "probability", "baseline": "nothing"}
    kind = about["input"]["kind"]
    found = []
    for method in about["explains"]:
        each = {"kind": kind, "method": method, **head}
        if method == "integrated_gradients":
            each |= {"sum": 0.5, "baseline_score": 0.25}
        if kind == "image":
            height, width, _ = about["input"]["shape"]
            heat = [[(x - y) / width for x in range(width)] for y in range(height)]
            found.append(each | {"shape": [height, width], "heat": heat})
        elif kind == "text":
            effects = [[word, 1.0 - 0.5 * i] for i, word in enumerate(value.split())]
            found.append(each | {"words": effects})
        else:
            names, values = range(1, len(value) + 1), value
            if kind == "table":
                names, values = [column["name"] for column in COLUMNS], value.values()
            columns = [
                {"name": str(name), "value": known, "effect": 0.5 - i}
                for i, (name, known) in enumerate(zip(names, values, strict=True))
            ]
            found.append(each | {"columns": columns})
    return {"explanations": found}
