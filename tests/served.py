"""Small exports of every kind of input, made without training, and servers of them."""

import asyncio
import importlib.util
import pathlib
import threading

import httpx
import numpy as np
import tensorflow as tf

from kpipe import files
from kpipe.datasets.columns import Column, arguments_of, to_lines
from kpipe.serving import Limits, Server, Settings, app

_BOMBS = pathlib.Path(__file__).resolve().parent.parent / "benchmarks" / "bombs.py"
_spec = importlib.util.spec_from_file_location("bombs", _BOMBS)
bombs = importlib.util.module_from_spec(_spec)  # which the fuzz sends too
_spec.loader.exec_module(bombs)

COLUMNS = (
    Column("area", "number"),
    Column("home town", "category"),
    Column("built", "date", format="%d.%m.%Y"),
    Column("sold", "date"),
    Column("garden", "boolean"),
)
LABELS = ("sad", "happy")
VOCABULARY = 20  # tokens of the text model; others cannot be looked up
SIZE = 4  # of the code of the autoencoder


def write(folder, kind, version=1, scale=1.0):
    """Writes `folder`/serving/`version` with a model of some kind; returns the run's folder.

    Args:
        folder: The run's folder.
        kind: "text", "table", "array", "autoencoder".
        version: Number of the version.
        scale: A factor of the answers of "array" and "table": versions that differ.
    """
    module, signatures = MAKERS[kind](scale)
    with files.new_folder(_made(pathlib.Path(folder) / "serving") / str(version)) as temporary:
        tf.saved_model.save(module, str(temporary), signatures=signatures)
        (temporary / "assets").mkdir(exist_ok=True)
        if kind == "table":
            (temporary / "assets" / "columns.txt").write_text("\n".join(to_lines(COLUMNS)) + "\n")
        if kind == "text":
            (temporary / "assets" / "labels.txt").write_text("\n".join(LABELS) + "\n")
    return pathlib.Path(folder)


def _made(folder):
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _function(function, **arguments):
    specs = {name: tf.TensorSpec(shape, dtype, name) for name, (shape, dtype) in arguments.items()}
    return tf.function(function).get_concrete_function(**specs)


def _text(scale):
    """A text is happy by the share of the letter a in it; a token by its number."""
    weights = tf.constant(np.linspace(0, 1, VOCABULARY, dtype=np.float32))

    def answer(happy):
        probabilities = tf.stack([1 - happy, happy], axis=1)
        labels = tf.gather(tf.constant(LABELS), tf.argmax(probabilities, axis=1))
        return {"probabilities": probabilities, "label": labels}

    def of_texts(texts):
        letters = tf.strings.length(texts)
        others = tf.strings.length(tf.strings.regex_replace(texts, "a", ""))
        share = tf.math.divide_no_nan(
            tf.cast(letters - others, tf.float32), tf.cast(letters, tf.float32)
        )
        return answer(share)

    def of_tokens(tokens):
        return answer(tf.reduce_mean(tf.gather(weights, tokens), axis=1))

    return tf.Module(), {
        "serving_default": _function(of_texts, texts=([None], tf.string)),
        "serving_tokens": _function(of_tokens, tokens=([None, None], tf.int32)),
    }


def _table(scale):
    """The area, 0 if missing, and 1000 for a garden, and the length of the words."""

    def value(area, home_town, built, sold, garden):
        numbers = [tf.where(tf.math.is_nan(x), 0.0, x) for x in (area, 1000 * garden)]
        words = [tf.cast(tf.strings.length(x), tf.float32) / 100 for x in (home_town, built, sold)]
        return {"value": scale * tf.add_n(numbers + words)}

    specs = {
        argument: ([None], tf.float32 if column.is_number else tf.string)
        for argument, column in zip(arguments_of(COLUMNS), COLUMNS, strict=True)
    }
    return tf.Module(), {"serving_default": _function(value, **specs)}


def _array(scale):
    """Twice the sum of two numbers; infinite if both are very large."""

    def value(features):
        return {"value": 2 * scale * tf.reduce_sum(features, axis=1)}

    return tf.Module(), {"serving_default": _function(value, features=([None, 2], tf.float32))}


def _autoencoder(scale):
    """The code is the first pixels, the image that of the code, repeated."""

    def encode(images):
        flat = tf.reshape(tf.cast(images, tf.float32) / 255, (-1, 16))
        return {"code": flat[:, :SIZE]}

    def decode(code):
        return {"reconstruction": tf.reshape(tf.tile(code, (1, 16 // SIZE)), (-1, 4, 4, 1))}

    def both(images):
        code = encode(images)["code"]
        return {"code": code, **decode(code)}

    images = ([None, 4, 4, 1], tf.uint8)
    return tf.Module(), {
        "serving_default": _function(both, images=images),
        "encode": _function(encode, images=images),
        "decode": _function(decode, code=([None, SIZE], tf.float32)),
    }


MAKERS = {"text": _text, "table": _table, "array": _array, "autoencoder": _autoencoder}


class Client:
    """Requests to a server in this process, whose event loop runs in a thread.

    Args:
        server: A `kpipe.serving.Server`.
        origins, hosts: See `app.application`.
    """

    def __init__(self, server, origins=(), hosts=None):
        self.server = server
        application = app.application(server, origins, hosts=hosts)
        transport = httpx.ASGITransport(application, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://here")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.server.close()

    def run(self, coroutine):
        """The result of a coroutine in the server's event loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def request(self, method, path, **options):
        return self.run(self._client.request(method, path, **options))

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, **options):
        return self.request("POST", path, **options)

    def post_all(self, path, contents):
        """Answers to requests that are sent at once."""

        async def gather():
            requests = (self._client.post(path, json=content) for content in contents)
            return await asyncio.gather(*requests)

        return self.run(gather())


def server_of(folders, say=lambda line: None, keep=2, **limits):
    """A server that has loaded its models."""
    server = Server(folders, Settings(Limits(**limits), keep), say=say)
    for model in server.models.values():
        model.update()
    return server
