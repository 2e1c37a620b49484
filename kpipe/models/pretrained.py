"""Networks whose backbone was trained on ImageNet."""

import contextlib
import os
import socket
import warnings
from collections.abc import Iterator, Sequence

import keras

from .efficientnet_lite import efficientnet_lite0
from .heads import head
from .transfer import FEATURES, load_backbone

# Name: class in keras.applications, and the scale and offset of pixels in 0..255, which the class
# expects or (1, 0) does itself. Not listed: ResNet50 and Xception, whose strided 1x1 convolutions
# write beyond their memory on a CPU (docs/design.md, pitfalls); EfficientNetB0 to B7, whose
# preprocessing differs between downloaded and other weights.
_UNCHANGED, _TO_ONE = (1.0, 0.0), (1 / 127.5, -1.0)
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_STANDARDIZED = (
    [1 / (255 * deviation) for deviation in _DEVIATION],
    [-mean / deviation for mean, deviation in zip(_MEAN, _DEVIATION, strict=True)],
)
APPLICATIONS = {
    "mobilenet_v2": ("MobileNetV2", _TO_ONE),
    "mobilenet_v3_small": ("MobileNetV3Small", _UNCHANGED),
    "mobilenet_v3_large": ("MobileNetV3Large", _UNCHANGED),
    "efficientnet_v2_b0": ("EfficientNetV2B0", _UNCHANGED),
    "efficientnet_v2_b1": ("EfficientNetV2B1", _UNCHANGED),
    "efficientnet_v2_b2": ("EfficientNetV2B2", _UNCHANGED),
    "efficientnet_v2_b3": ("EfficientNetV2B3", _UNCHANGED),
    "efficientnet_v2_s": ("EfficientNetV2S", _UNCHANGED),
    "resnet50_v2": ("ResNet50V2", _TO_ONE),
    "densenet121": ("DenseNet121", _STANDARDIZED),
    "convnext_tiny": ("ConvNeXtTiny", _UNCHANGED),
}
LITE0 = "efficientnet_lite0"
BACKBONES = (LITE0, *APPLICATIONS)
TIMEOUT = 10  # seconds without an answer after which a download fails


def pretrained(
    backbone: str,
    input_shape: Sequence[int],
    num_classes: int,
    *,
    weights: str | os.PathLike[str] = "imagenet",
    upsample: int = 1,
    dropout: float = 0.0,
    task: str = "classification",
) -> keras.Model:
    """Builds a known network with a new head; the preprocessing of its images is part of it.

    `models.backbone` ends at the layer "features", the mean of the last feature maps.

    Args:
        backbone: One of `BACKBONES`: "efficientnet_lite0", or a network of `keras.applications`.
        input_shape: (height, width, 3) of the uint8 images; 1 channel is repeated three times.
        num_classes: Number of classes or labels; 1 for a regression.
        weights: "imagenet", downloaded by `keras.applications` if it is not in ~/.keras;
            "none" for random weights; or a file or a run's folder, see `load_backbone`.
            "efficientnet_lite0" has no download: it needs a file.
        upsample: Factor by which the images are enlarged first.
        dropout: Dropout rate of the features.
        task: "classification", "multilabel" or "regression".

    Returns:
        Uncompiled model from uint8 (batch, *input_shape) to the outputs of `heads.head`, such as
        {"probabilities": float32 (batch, num_classes)}.

    Raises:
        ValueError: The backbone is unknown, or the weights cannot be downloaded or read.

    Example:
        model = pretrained("mobilenet_v3_small", (64, 64, 3), 5, weights="none")
        model.get_layer("features").output.shape  # (None, 576)
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    """
    if backbone not in BACKBONES:
        raise ValueError(f"backbone={backbone!r}: expected one of {', '.join(BACKBONES)}")
    if backbone == LITE0 and weights == "imagenet":
        raise ValueError(
            f"weights=imagenet: {LITE0} has no download; give weights=FILE, a .npz file with the "
            "arrays of its PyTorch checkpoint, or another run's folder"
        )
    inputs = keras.Input(input_shape, dtype="uint8", name="images")
    x = inputs
    if input_shape[-1] == 1:
        x = keras.layers.Concatenate()([x, x, x])
    kind, scaling = APPLICATIONS.get(backbone, ("", (1 / 128, -127 / 128)))
    x = keras.layers.Rescaling(scaling[0], offset=scaling[1])(x)
    if upsample > 1:
        x = keras.layers.UpSampling2D(upsample, interpolation="bilinear")(x)
    if backbone == LITE0:
        x = efficientnet_lite0(x)
    else:
        x = _application(backbone, kind, x, "imagenet" if weights == "imagenet" else None)
    x = keras.layers.GlobalAveragePooling2D(name=FEATURES)(x)
    model = keras.Model(inputs, head(x, num_classes, task, dropout), name=backbone)
    if weights not in ("imagenet", "none"):
        load_backbone(model, weights)
    return model


def _application(
    name: str, kind: str, x: keras.KerasTensor, weights: str | None
) -> keras.KerasTensor:
    build = getattr(keras.applications, kind)
    try:
        with _impatient(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other sizes than 224 are what this is for
            return build(include_top=False, input_tensor=x, weights=weights).output
    except Exception as error:  # no network, no space, an incomplete file; too small images
        reason = " ".join(str(error).split())[:240] or type(error).__name__
        if weights is None:
            raise ValueError(f"backbone={name} cannot be built ({reason})") from error
        raise ValueError(
            f"weights=imagenet: those of {name} cannot be downloaded ({reason}); give "
            "weights=FILE, or weights=none for random weights"
        ) from error


@contextlib.contextmanager
def _impatient() -> Iterator[None]:
    """Lets a connection without an answer fail soon, not after minutes."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
