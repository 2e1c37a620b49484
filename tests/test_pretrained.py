"""Backbones from ImageNet: EfficientNet-Lite0 of ours, and those of `keras.applications`."""

import json
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
from checkpoint import checkpoint
from own_files import photos

import kpipe
from kpipe import cli, models
from kpipe.errors import UserError
from kpipe.experiments import catalogue, modules
from kpipe.experiments import keys as hyperparameters
from kpipe.models.efficientnet_lite import STAGES
from kpipe.models.pretrained import BACKBONES

SHAPE = (32, 32, 3)
IMAGES = np.random.RandomState(0).randint(0, 256, (2, *SHAPE), dtype=np.uint8)


def features_in_numpy(arrays, images):
    """The published network in NumPy, in PyTorch's layout: (batch, channels, height, width)."""

    def conv(x, name, stride=1):
        kernel = arrays[f"{name}.weight"].astype(np.float64)
        size, height = kernel.shape[-1], x.shape[-1]
        total = max(0, (-(-height // stride) - 1) * stride + size - height)
        pads = (total // 2, total - total // 2)  # TensorFlow's "SAME"
        x = np.pad(x, ((0, 0), (0, 0), pads, pads))
        windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))
        windows = windows[:, :, ::stride, ::stride]
        if kernel.shape[1] == 1 and x.shape[1] > 1:
            return np.einsum("bchwij,cij->bchw", windows, kernel[:, 0], optimize=True)
        return np.einsum("bchwij,ocij->bohw", windows, kernel, optimize=True)

    def norm(x, name, relu6=True):
        scale, shift, mean, variance = (
            arrays[f"{name}.{part}"][:, None, None].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        x = (x - mean) / np.sqrt(variance + 1e-3) * scale + shift
        return np.clip(x, 0, 6) if relu6 else x

    x = (images.transpose(0, 3, 1, 2).astype(np.float64) - 127) / 128
    x = norm(conv(x, "_conv_stem", 2), "_bn0")
    block = 0
    for expansion, _, repeats, stride, _ in STAGES:
        for i in range(repeats):
            before, name = x, f"_blocks.{block}"
            if expansion > 1:
                x = norm(conv(x, f"{name}._expand_conv"), f"{name}._bn0")
            x = norm(conv(x, f"{name}._depthwise_conv", 1 if i else stride), f"{name}._bn1")
            x = norm(conv(x, f"{name}._project_conv"), f"{name}._bn2", relu6=False)
            x = x + before if i else x
            block += 1
    return norm(conv(x, "_conv_head"), "_bn1").mean(axis=(2, 3))


@pytest.fixture(scope="module")
def arrays():
    return checkpoint()


@pytest.fixture(scope="module")
def lite0(arrays, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "lite0.npz"
    np.savez(path, **arrays)
    keras.utils.clear_session(free_memory=False)
    return models.pretrained("efficientnet_lite0", SHAPE, 5, weights=path), path


def test_lite0_computes_what_the_published_network_does(lite0, arrays):
    found = models.backbone(lite0[0])(IMAGES, training=False).numpy()
    expected = features_in_numpy(arrays, IMAGES)
    np.testing.assert_allclose(found, expected, atol=1e-4 * expected.max())
    assert found.shape == (2, 1280) and found.std() > 0.01


def test_lite0_has_the_published_number_of_weights(lite0):
    assert models.backbone(lite0[0]).count_params() == 4_694_024 - 1281 * 1000


def test_another_file_is_refused_in_one_line_and_nothing_is_changed(lite0, arrays, tmp_path):
    model, _ = lite0
    before = model.get_layer("stem_conv").get_weights()[0]
    cases = {
        "missing": {k: v for k, v in arrays.items() if k != "_blocks.3._bn2.bias"},
        r"_conv_head.weight is \(1, 1, 320, 64\)": {
            **arrays,
            "_conv_head.weight": np.zeros((64, 320, 1, 1), np.float32),
        },
    }
    for message, content in cases.items():
        content["_conv_stem.weight"] = 2 * content["_conv_stem.weight"]
        np.savez(tmp_path / "other.npz", **content)
        with pytest.raises(ValueError, match=rf"other\.npz: .*{message}.*PyTorch's names"):
            models.load_backbone(model, tmp_path / "other.npz")
    np.savez(tmp_path / "pickled.npz", a=np.array([{}], object))
    (tmp_path / "broken.npz").write_bytes(b"PK")
    for name in ("pickled", "broken"):
        with pytest.raises(ValueError, match=rf"{name}\.npz: cannot be read as \.npz"):
            models.load_backbone(model, tmp_path / f"{name}.npz")
    np.testing.assert_array_equal(model.get_layer("stem_conv").get_weights()[0], before)


@pytest.fixture
def tiny_application(monkeypatch):
    """A small network in the place of MobileNetV2 of keras.applications."""

    def build(include_top, input_tensor, weights):
        assert not include_top
        if weights == "imagenet":
            raise Exception("URL fetch failure on https://storage: None --\n no route to host")
        output = keras.layers.Conv2D(4, 3, strides=2, name="Conv1")(input_tensor)
        return types.SimpleNamespace(output=output)

    monkeypatch.setattr(keras.applications, "MobileNetV2", build)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "vgg"}, "backbone='vgg': expected one of efficientnet_lite0, mobilenet_v2"),
        ({}, "efficientnet_lite0 has no download; give weights=FILE"),
        (
            {"backbone": "mobilenet_v2", "weights": "nothing.npz"},
            "weights=nothing.npz: no such file",
        ),
    ],
)
def test_a_name_or_weights_that_do_not_exist_are_refused(tiny_application, options, message):
    with pytest.raises(ValueError, match=message):
        models.pretrained(
            **{"backbone": "efficientnet_lite0", **options}, input_shape=SHAPE, num_classes=2
        )


def test_an_application_gets_its_preprocessing_and_our_head(tiny_application, tmp_path):
    def build(**options):
        return models.pretrained(
            "mobilenet_v2", **{"input_shape": SHAPE, "num_classes": 3, **options}
        )

    model = build(weights="none", dropout=0.5, upsample=2)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == (
        "InputLayer Rescaling UpSampling2D Conv2D GlobalAveragePooling2D Dropout Dense".split()
    )
    assert set(model.output) == {"probabilities"}
    scaled = keras.Model(model.input, model.layers[1].output)(IMAGES).numpy()
    np.testing.assert_allclose(scaled, IMAGES / 127.5 - 1, atol=1e-6)
    grey = build(weights="none", input_shape=(32, 32, 1), num_classes=1, task="regression")
    assert grey(IMAGES[..., :1])["value"].shape == (2, 1)
    model.save(tmp_path / "model.keras")
    again = build(weights=tmp_path)
    np.testing.assert_array_equal(again.get_layer("Conv1").kernel, model.get_layer("Conv1").kernel)


def test_no_network_is_told_in_one_line(tiny_application):
    with pytest.raises(
        ValueError,
        match=r"those of mobilenet_v2 cannot be downloaded \(URL fetch failure on https://storage: "
        r"None -- no route to host\); give weights=FILE, or weights=none for random weights$",
    ):
        models.pretrained("mobilenet_v2", SHAPE, 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return photos(tmp_path_factory.mktemp("photos"), each=6)


def resolve(name, folder, **keys):
    data = folder if name == "image_folder" else None
    module = modules.load(catalogue.find(name), data=data)[0]
    return module, hyperparameters.resolve(module, keys)


PIPELINES = ["image_folder", "grocery_cnn", "cifar10_transfer"]


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_freezes_its_backbone_and_caches_the_features(tiny_application, folder, name):
    keys = {"backbone": "mobilenet_v2", "weights": "none"}
    module, settings = resolve(name, folder, **keys)
    assert settings.trainer.cache_features and settings.overrides["backbone"] == "mobilenet_v2"
    model = module.build_model(settings.hp)
    assert not models.backbone(model).trainable_weights and len(model.trainable_weights) == 2
    module, settings = resolve(name, folder, **keys, cache_features=False, fine_tune=True)
    assert settings.trainer.fine_tune and not settings.trainer.cache_features
    with pytest.raises(UserError, match="those of mobilenet_v2 cannot be downloaded"):
        resolve(name, folder, backbone="mobilenet_v2")
    with pytest.raises(UserError, match="backbone='vgg': expected one of efficientnet_lite0"):
        resolve(name, folder, backbone="vgg")


@pytest.mark.parametrize("name", PIPELINES)
def test_without_a_backbone_a_pipeline_is_as_before(folder, name):
    module, settings = resolve(name, folder)
    assert settings.hp.values["backbone"] == "none"
    assert not {"cache_features", "fine_tune"} & settings.trainer.settings().keys()
    assert settings.dataset.input_shape[0] == (32 if name == "cifar10_transfer" else 64)
    model = module.build_model(settings.hp)
    parameters = {"grocery_cnn": 410_673, "cifar10_transfer": 703_866}  # docs/results.md
    assert model.count_params() == parameters.get(name, model.count_params())
    rate = model.optimizer.get_config()["learning_rate"]["config"]
    assert rate["initial_learning_rate"] == 2e-3


@pytest.mark.slow
def test_a_run_with_a_backbone_is_exported_whole(tiny_application, tmp_path, capsys):
    folder, out = photos(tmp_path / "photos"), tmp_path / "out"
    keys = {"backbone": "mobilenet_v2", "weights": "none", "image_size": 32, "epochs": 2}
    run = kpipe.run(folder, out=out, **keys, fine_tune=True, fine_tune_epochs=1)
    record = json.loads((run.folder / "run.json").read_text())
    assert record["proof"]["passed"] and record["training"]["frozen_epochs"] == 2
    page = (run.folder / "report.html").read_text()
    assert "The features of the frozen backbone were computed once" in page
    assert "times faster than through the backbone" in page
    assert not list(run.folder.rglob("checkpoints"))
    code = (
        "import sys, keras, numpy as np; "
        "model = keras.models.load_model(sys.argv[1]); "
        "print(model(np.zeros((1, 32, 32, 3), np.uint8))['probabilities'].shape); "
        "assert not any(name.startswith('kpipe') for name in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(run.folder / "model.keras")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "(1, 3)" in done.stdout
    capsys.readouterr()
    assert cli.main(["predict", str(run.folder), str(folder / "apple/000.png")]) == 0
    assert "%" in capsys.readouterr().out
    again = kpipe.run(folder, out=out, **{**keys, "weights": str(run.folder)})
    assert json.loads((again.folder / "run.json").read_text())["proof"]["passed"]


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_is_safe_on_a_cpu_and_saved_without_kpipe(name, tmp_path):
    keras.utils.clear_session()
    model = models.pretrained(name, (64, 64, 3), 2, weights="none")
    for layer in model._flatten_layers():  # docs/design.md, pitfalls: strided 1x1 convolutions
        if isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (1, 1):
            assert layer.strides == (1, 1), layer.name
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    images = np.random.RandomState(1).randint(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    np.testing.assert_allclose(
        loaded(images)["probabilities"], model(images)["probabilities"], atol=1e-5
    )
    keras.utils.clear_session()  # as before every run: ConvNeXt has a layer without a given name
    again = models.pretrained(name, (64, 64, 3), 5, weights=tmp_path)
    np.testing.assert_allclose(
        models.backbone(again)(images), models.backbone(model)(images), atol=1e-4
    )
