import sys
import types

import keras
import numpy as np
import pytest
from own import data_of, split_of

from kpipe import models, tasks
from kpipe.datasets import Augmentation
from kpipe.experiments import catalogue, modules
from kpipe.experiments import keys as hyperparameters
from kpipe.inputs import ImageInput

IMAGES = np.random.RandomState(0).randint(0, 256, (3, 16, 16, 3), dtype=np.uint8)


def resnet(num_classes=4, seed=0, **options):
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    return models.resnet18((16, 16, 3), num_classes, **{"filters": 8, **options})


def small(num_classes=4, filters=(4,)):
    return models.cnn((16, 16, 3), num_classes, filters=filters)


def features(model):
    return models.backbone(model)(IMAGES, training=False).numpy()  # no time to trace a graph


@pytest.fixture(scope="module")
def plain():
    return resnet()


def test_a_resnet_counts_its_parameters_as_the_paper_does():
    model = models.resnet18((32, 32, 3), 1000, stem="imagenet")
    assert model.count_params() - 2 * 4800 == 11_689_512  # He et al.: 11.69 M, without statistics


def test_a_block_adds_its_input_to_what_it_learned(plain):
    model = plain
    block = keras.Model(
        model.input, [model.get_layer(f"stack0_block0_{p}").output for p in ("add", "2_bn", "out")]
    )
    stem = keras.Model(model.input, model.get_layer("conv1_relu").output)
    added, learned, out = block(IMAGES)
    np.testing.assert_allclose(added, stem(IMAGES) + learned, atol=1e-5)
    np.testing.assert_array_equal(out, np.maximum(added, 0))


def test_shortcuts_are_projected_only_where_the_shape_changes(plain):
    names = {layer.name for layer in plain.layers}
    projected = {name for name in names if name.endswith("_0_conv")}
    assert projected == {f"stack{i}_block0_0_conv" for i in (1, 2, 3)}


@pytest.mark.parametrize(("stem", "size"), [("small", 16), ("imagenet", 4)])
def test_the_stem_keeps_or_quarters_the_size(stem, size, plain):
    model = plain if stem == "small" else resnet(stem=stem)
    assert model.get_layer("stack0_block1_out").output.shape == (None, size, size, 8)
    assert model.get_layer("stack3_block1_out").output.shape[-1] == 64


def test_an_unknown_stem_is_refused():
    with pytest.raises(ValueError, match="stem='tiny': expected 'small' or 'imagenet'"):
        resnet(stem="tiny")


def test_the_backbone_of_another_network_is_taken_and_the_head_is_not(tmp_path, monkeypatch):
    source = small(num_classes=7)
    source.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    source.train_on_batch(IMAGES, np.arange(3))
    source.save(tmp_path / "model.keras")
    expected = features(source)
    monkeypatch.setenv("HOME", str(tmp_path))
    for weights in (tmp_path, "~/model.keras"):
        model = small()
        assert not np.array_equal(features(model), expected)
        head = model.get_layer("probabilities").get_weights()
        models.load_backbone(model, weights)
        np.testing.assert_array_equal(features(model), expected)
        np.testing.assert_array_equal(model.get_layer("probabilities").get_weights()[0], head[0])


def test_a_model_that_answers_for_mirrored_images_has_the_backbone_of_its_network(tmp_path):
    source = small()
    split = split_of(IMAGES, np.zeros(3, np.int32), input=ImageInput((16, 16, 3)))
    data = data_of(("a", "b", "c", "d"), Augmentation(flip_at_test=True), train=split)
    mirrored = tasks.find("classification").inference(source, data)
    mirrored.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(features(mirrored), features(source))
    model = small()
    models.load_backbone(model, tmp_path)
    np.testing.assert_array_equal(features(model), features(source))


def test_a_weights_file_of_a_backbone_is_taken(tmp_path):
    source = small()
    path = tmp_path / "backbone.weights.h5"
    models.backbone(source).save_weights(path)
    model = small(num_classes=2)
    assert not np.array_equal(features(model), features(source))
    models.load_backbone(model, path)
    np.testing.assert_array_equal(features(model), features(source))


def test_weights_of_other_shapes_are_refused_and_nothing_is_changed(tmp_path):
    other = small(filters=(6,))
    other.save(tmp_path / "model.keras")
    models.backbone(other).save_weights(tmp_path / "b.weights.h5")
    model = small()
    before = model.get_weights()
    message = r"model\.keras: layer '.*' is \[\(3, 3, 3, 6\)\]; expected \[\(3, 3, 3, 4\)\]"
    with pytest.raises(ValueError, match=message):
        models.load_backbone(model, tmp_path)
    with pytest.raises(ValueError, match=r"b\.weights\.h5: not weights of cnn_backbone"):
        models.load_backbone(model, tmp_path / "b.weights.h5")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_another_network_is_refused_by_its_first_missing_layer(tmp_path, plain):
    models.cnn((16, 16, 3), 2, filters=(4,)).save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="no layer 'conv1_conv', which resnet18_backbone needs"):
        models.load_backbone(plain, tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing.keras", "no such file; expected imagenet, a .keras, .h5 or .npz file"),
        (".", "model.keras: no such file"),
        ("broken.keras", "not a readable Keras model"),
        ("broken.weights.h5", "not weights of"),
        ("weights.pth", "expected a .keras, .h5 or .npz file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, message):
    if name not in (".", "nothing.keras"):
        (tmp_path / name).write_bytes(b"no weights")
    with pytest.raises(ValueError, match=f"{name}.*{message}"):
        models.load_backbone(small(), tmp_path / name)


def test_a_model_without_features_has_no_backbone():
    with pytest.raises(ValueError, match="model 'mlp' has no layer 'features'"):
        models.backbone(models.mlp((4, 4, 3), 2))


@pytest.fixture
def fake_hub(monkeypatch):
    """Keras Hub with a download that gives a network of its preset's layers."""
    asked = []

    def from_preset(preset):
        asked.append(preset)
        return models.backbone(resnet(stem="imagenet", seed=3))

    hub = types.ModuleType("keras_hub")
    hub.models = types.SimpleNamespace(Backbone=types.SimpleNamespace(from_preset=from_preset))
    monkeypatch.setitem(sys.modules, "keras_hub", hub)
    return hub, asked


def test_imagenet_weights_come_from_keras_hub(fake_hub):
    _, asked = fake_hub
    expected = features(resnet(stem="imagenet", seed=3))
    model = resnet(stem="imagenet", seed=4)
    assert not np.array_equal(features(model), expected)
    models.load_backbone(model, "imagenet")
    np.testing.assert_array_equal(features(model), expected)
    assert asked == ["resnet_18_imagenet"]


def test_imagenet_weights_do_not_fit_the_small_stem(fake_hub, plain):
    with pytest.raises(ValueError, match=r"imagenet: layer 'conv1_conv' is \[\(7, 7, 3, 8\)\]"):
        models.load_backbone(plain, "imagenet")


def test_a_failed_download_and_a_missing_keras_hub_are_told_in_one_line(fake_hub, monkeypatch):
    hub, _ = fake_hub

    def fail(preset):
        raise OSError("no route to host\nmore")

    hub.models.Backbone.from_preset = fail
    with pytest.raises(
        ValueError, match=r"resnet_18_imagenet cannot be loaded \(no route to host\)$"
    ):
        models.load_backbone(small(), "imagenet")
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ValueError, match=r"needs Keras Hub \(.*\); install kpipe\[hub\]$"):
        models.load_backbone(small(), "imagenet")


def test_our_layers_are_keras_hubs_own():
    """With Keras Hub installed: its network with its names gives our features."""
    keras_hub = pytest.importorskip("keras_hub")
    theirs = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=[2, 2, 2, 2],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
        image_shape=(32, 32, 3),
    )
    ours = models.backbone(models.resnet18((32, 32, 3), 2, stem="imagenet"))
    shapes = {layer.name: [w.shape for w in layer.weights] for layer in ours.layers}
    for layer in theirs.layers:
        assert [w.shape for w in layer.weights] == shapes.get(layer.name, [])


def transfer_step(**given):
    """Backbone weights before and after a step of cifar10_transfer, and whether the head moved."""
    module = modules.load(catalogue.find("cifar10_transfer"))[0]
    settings = hyperparameters.resolve(module, {"filters": 8, "stem": "imagenet", **given})
    keras.utils.clear_session()
    model = module.build_model(settings.hp)
    model.run_eagerly = True  # one step is done before its graph would be traced
    layers = [layer for layer in models.backbone(model).layers if layer.weights]
    before = {layer.name: layer.get_weights() for layer in layers}
    head = model.get_layer("probabilities").get_weights()[0]
    images = np.random.RandomState(1).randint(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    model.train_on_batch(images, np.arange(8))
    after = {layer.name: layer.get_weights() for layer in layers}
    return before, after, (model.get_layer("probabilities").get_weights()[0] != head).any()


def test_a_frozen_backbone_stays_as_it_is_with_its_statistics():
    before, after, head_moved = transfer_step(freeze=True)
    assert head_moved
    for name in before:
        for old, new in zip(before[name], after[name], strict=True):
            np.testing.assert_array_equal(old, new)


def test_during_the_warmup_only_the_head_learns():
    before, after, head_moved = transfer_step(backbone_warmup_steps=5)
    assert head_moved
    for name in before:  # batch normalization goes on watching: two of its four are statistics
        learned = 2 if name.endswith("_bn") else len(before[name])
        for old, new in list(zip(before[name], after[name], strict=True))[:learned]:
            np.testing.assert_array_equal(old, new)
