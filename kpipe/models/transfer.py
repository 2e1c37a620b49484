"""Transfer learning: weights of another network's backbone."""

import os
import pathlib

import keras

from .efficientnet_lite import load_npz
from .keras_files import check_weights, load_model

FEATURES = "features"  # the layer that ends a backbone
HUB_PRESETS = {"imagenet": "resnet_18_imagenet"}


def backbone(model: keras.Model) -> keras.Model:
    """Returns the part of a model up to its layer "features"; it shares the model's layers.

    Args:
        model: A model with a layer "features", such as `cnn`, `resnet18` and `pretrained` build.

    Raises:
        ValueError: The model has no such layer.

    Example:
        model = models.cnn((32, 32, 3), 10)
        backbone(model).save_weights("backbone.weights.h5")
    """
    model = _within(model)
    if FEATURES not in [layer.name for layer in model.layers]:
        raise ValueError(f"model {model.name!r} has no layer {FEATURES!r}; `cnn` and `resnet18` do")
    return keras.Model(model.input, model.get_layer(FEATURES).output, name=f"{model.name}_backbone")


def load_backbone(model: keras.Model, weights: str | os.PathLike[str]) -> None:
    """Sets the weights of a model's backbone; the head's weights are unchanged.

    Args:
        model: A model with a layer "features", such as those built by `cnn` and `resnet18`.
        weights: "imagenet": Keras Hub's ResNet18, downloaded if not cached (needs the extra
            `kpipe[hub]`, and filters=64, stem="imagenet"); or a `.keras` file; or a folder that
            contains `model.keras`, such as that of another run; or a `.weights.h5` file written by
            `backbone(model).save_weights`; or an `.h5` file of `keras.applications` without top;
            or a `.npz` file, see `efficientnet_lite.load_npz`.

    Raises:
        ValueError: The weights cannot be read or are not finite, or lack a layer, or a layer has
            another shape.

    Example:
        model = models.cnn((32, 32, 3), 10)
        load_backbone(model, "saved_models/grocery_cnn")
    """
    target = backbone(model)
    if str(weights) in HUB_PRESETS:
        _copy_layers(_from_hub(HUB_PRESETS[str(weights)]), target, str(weights))
        return
    path = pathlib.Path(weights).expanduser()
    if path.is_dir():
        path = path / "model.keras"
    if not path.is_file():
        raise ValueError(
            f"weights={path}: no such file; expected {', '.join(HUB_PRESETS)}, a .keras, .h5 or "
            ".npz file, or a run's folder"
        )
    if path.suffix == ".h5":
        _load_weights(target, path)
    elif path.suffix == ".npz":
        load_npz(target, path)
    elif path.suffix == ".keras":
        _copy_layers(_load_model(path), target, str(path))
    else:
        raise ValueError(f"weights={weights}: expected a .keras, .h5 or .npz file")


def _within(model: keras.Model) -> keras.Model:
    """Returns the network that a model calls with images and mirrored ones; else the model."""
    inside = [layer for layer in model.layers if layer.weights]
    return inside[0] if len(inside) == 1 and isinstance(inside[0], keras.Model) else model


def _from_hub(preset: str) -> keras.Model:
    try:
        import keras_hub
    except ImportError as error:
        raise ValueError(
            f"the preset {preset} needs Keras Hub ({error}); install kpipe[hub]"
        ) from None
    try:
        return keras_hub.models.Backbone.from_preset(preset)
    except Exception as error:  # no network, no space, an incomplete file
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ValueError(f"the preset {preset} cannot be loaded ({reason[:120]})") from error


def _load_model(path: pathlib.Path) -> keras.Model:
    try:
        return load_model(path)
    except Exception as error:  # damaged files raise errors of many types
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"{path}: not a readable Keras model ({reason[:120]})") from error


def _load_weights(target: keras.Model, path: pathlib.Path) -> None:
    try:
        check_weights(path)
        target.load_weights(path)
    except Exception as error:  # another network, or a damaged file
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: not weights of {target.name} ({reason[:160]})") from error


def _copy_layers(source: keras.Model, target: keras.Model, name: str) -> None:
    """Copies weights by layer name, once all layers are known to fit."""
    layers = {layer.name: layer for layer in _within(source).layers}
    pairs = []
    for layer in target.layers:
        if not layer.weights:
            continue
        if layer.name not in layers:
            raise ValueError(f"{name}: no layer {layer.name!r}, which {target.name} needs")
        other = layers[layer.name]
        found, expected = ([tuple(w.shape) for w in one.weights] for one in (other, layer))
        if found != expected:
            raise ValueError(f"{name}: layer {layer.name!r} is {found}; expected {expected}")
        pairs.append((layer, other))
    for layer, other in pairs:
        layer.set_weights(other.get_weights())
