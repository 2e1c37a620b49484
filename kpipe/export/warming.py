"""Requests that TensorFlow Serving sends to a new version before it serves it.

They stand in `assets.extra/tf_serving_warmup_requests`, a TFRecord of `PredictionLog` messages
(https://www.tensorflow.org/tfx/serving/saved_model_warmup). The few fields that are needed are
encoded here, by the rules of protobuf: the package with the messages pins a TensorFlow.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from .golden import Case

REQUESTS = "tf_serving_warmup_requests"
EXAMPLES = 1  # in each request

# Numbers of fields in prediction_log.proto, predict.proto and model.proto.
_PREDICT_LOG, _REQUEST, _MODEL_SPEC, _INPUTS = 6, 1, 1, 2
_NAME, _SIGNATURE = 1, 3
_KEY, _VALUE = 1, 2  # of an entry of a map


def write_requests(folder: pathlib.Path, name: str, cases: Sequence[Case]) -> None:
    """Writes one request for each endpoint, of its first golden input.

    Args:
        folder: Folder of the SavedModel.
        name: Name of the model.
        cases: The golden cases of the export.
    """
    requests = {}
    for case in cases:
        if not case.on_test and case.endpoint not in requests:
            given = {key: values[:EXAMPLES] for key, values in case.given.items()}
            requests[case.endpoint] = encode_request(name, case.endpoint, given)
    target = folder / "assets.extra" / REQUESTS
    target.parent.mkdir()
    with tf.io.TFRecordWriter(str(target)) as writer:
        for request in requests.values():
            writer.write(request)


def encode_request(name: str, signature: str, inputs: Mapping[str, Any]) -> bytes:
    """Encodes a `PredictionLog` that holds a `PredictRequest`.

    Args:
        name: Name of the model.
        signature: Name of the signature.
        inputs: Inputs by argument.
    """
    spec = _field(_NAME, name.encode()) + _field(_SIGNATURE, signature.encode())
    request = _field(_MODEL_SPEC, spec)
    for key, values in inputs.items():
        tensor = tf.make_tensor_proto(values).SerializeToString()
        request += _field(_INPUTS, _field(_KEY, key.encode()) + _field(_VALUE, tensor))
    return _field(_PREDICT_LOG, _field(_REQUEST, request))


def _field(number: int, content: bytes) -> bytes:
    """Encodes a field whose length is written before it: wire type 2."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Encodes an integer in groups of seven bits, the lowest first."""
    content = bytearray()
    while value > 127:
        content.append(value & 127 | 128)
        value >>= 7
    return bytes([*content, value])
