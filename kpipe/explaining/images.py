"""The places that an answer to an image hangs on."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from ..export.loading import SavedModel
from ..inputs import Examples
from ..inputs.images import decode_image
from .attribution import can_integrate, can_localize, grad_cam, integrated_gradients
from .explanation import GRAD_CAM, IMAGE, INTEGRATED, PROBABILITY, RELATIVE, VALUE, Explanation
from .network import Network

BLACK = "a black image"


def pixels_of(model: SavedModel, examples: Examples) -> np.ndarray:
    """Decodes images as the model does: uint8 (n, height, width, channels).

    Args:
        model: A model of images.
        examples: Encoded files, or pixels.

    Raises:
        UserError: A file cannot be decoded; the message names it.
    """
    if examples.endpoint == "serving_default":
        return np.asarray(examples.values)
    assert model.input_spec is not None
    shape, images = tuple(model.input_spec.shape[1:]), []
    for i, content in enumerate(examples.values):
        try:
            images.append(decode_image(tf.constant(content), shape).numpy())
        except tf.errors.OpError:
            if examples.explain is None:
                raise
            raise examples.explain(i, i + 1) from None
    return np.stack(images) if images else np.zeros((0, *shape), np.uint8)


def image_methods(network: Network) -> tuple[str, ...]:
    """Returns the methods that can explain the answer to an image."""
    fits = {GRAD_CAM: can_localize(network), INTEGRATED: can_integrate(network, 2)}
    return tuple(method for method, possible in fits.items() if possible)


def explain_image(
    network: Network,
    pixels: np.ndarray,
    column: int,
    target: str,
    methods: Sequence[str],
    most: int | None = None,
) -> list[Explanation]:
    """Explains the answer to an image.

    Args:
        network: From pixels to scores.
        pixels: One image, (1, height, width, channels).
        column: Which value of the output.
        target: Its name.
        methods: "grad_cam" or "integrated_gradients".
        most: See `integrated_gradients`.
    """
    found = []
    unit = VALUE if network.output == "value" else PROBABILITY
    for method in methods:
        if method == GRAD_CAM:
            score = float(network.score(pixels)[0, column])
            heat = grad_cam(network, pixels, column)
            found.append(Explanation(IMAGE, method, target, score, RELATIVE, "", heat))
            continue
        result = integrated_gradients(network, pixels, np.zeros_like(pixels), column, 2, most)
        found.append(
            Explanation(
                IMAGE,
                method,
                target,
                result.score,
                unit,
                BLACK,
                result.effects,
                baseline_score=result.baseline_score,
                error=result.error,
            )
        )
    return found
