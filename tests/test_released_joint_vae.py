"""The weights that JointVAE's authors released, in kpipe's model: an oracle for its objective."""

import os
import pathlib

import numpy as np
import pytest

from kpipe import datasets, losses, models
from kpipe.data import prepare
from kpipe.measures.reconstruction import metrics_of, open_test

# Layer of PyTorch's archive: path of kpipe's layer.
ENCODER = {"fc_mean": "z_mean", "fc_log_var": "z_log_var", "fc_alphas.0": "logits"}


def released(path):
    """Builds kpipe's model with the released weights of a PyTorch archive."""
    arrays = dict(np.load(path))
    model = models.joint_vae((32, 32, 1), 10, discrete=(10,))
    encoder, decoder = model.get_layer("encoder"), model.get_layer("decoder")

    def put(layer, name, kernel):
        layer.set_weights([kernel, arrays[f"{name}.bias"]])

    def dense(name):
        return arrays[f"{name}.weight"].T

    def convolution(name):  # (out, in, height, width), or transposed (in, out, height, width)
        return arrays[f"{name}.weight"].transpose(2, 3, 1, 0)

    *convolutions, hidden = [x for x in encoder.layers if x.name.startswith(("conv", "dense"))]
    for i, layer in enumerate(convolutions):
        put(layer, f"img_to_features.{2 * i}", convolution(f"img_to_features.{2 * i}"))
    # PyTorch flattens (channel, height, width), Keras (height, width, channel).
    kernel = dense("features_to_hidden.0").reshape(64, 4, 4, 256).transpose(1, 2, 0, 3)
    put(hidden, "features_to_hidden.0", kernel.reshape(1024, 256))
    for name, ours in ENCODER.items():
        put(encoder.get_layer(ours), name, dense(name))

    first, second, *transposed = [x for x in decoder.layers if x.weights]
    put(first, "latent_to_features.0", dense("latent_to_features.0"))
    kernel = dense("latent_to_features.2").reshape(256, 64, 4, 4).transpose(0, 2, 3, 1)
    bias = arrays["latent_to_features.2.bias"].reshape(64, 4, 4).transpose(1, 2, 0)
    second.set_weights([kernel.reshape(256, 1024), bias.reshape(-1)])
    for i, layer in enumerate(transposed):
        # Keras' and PyTorch's transposed convolutions have the same orientation.
        put(layer, f"features_to_img.{2 * i}", convolution(f"features_to_img.{2 * i}"))
    return model


@pytest.mark.slow
def test_released_weights_reach_their_accuracy_in_this_model():
    """Needs MNIST in $KPIPE_TEST_DATA, and mnist.npz in its downloads/manual/jointvae_released."""
    folder = os.environ.get("KPIPE_TEST_DATA")
    if not folder:
        pytest.skip("KPIPE_TEST_DATA names no data folder")
    path = pathlib.Path(folder, "downloads/manual/jointvae_released/mnist.npz")
    if not path.exists():
        pytest.skip(f"{path} does not exist")
    dataset = datasets.mnist(val_fraction=0.1, image_size=32).as_autoencoder_data()
    data = prepare(dataset, dataset.find("real", folder))
    model = released(path)
    model.compile("adam", loss=losses.bernoulli)
    metrics = metrics_of(open_test(model, data, seed=0), model, data)
    assert metrics["unsupervised_accuracy"]["value"] == pytest.approx(0.8873, abs=0.0005)
    assert metrics["continuous_kl"]["value"] == pytest.approx(5.00, abs=0.01)
    assert metrics["discrete_kl"]["value"] == pytest.approx(2.274, abs=0.001)
    assert metrics["bound"]["value"] == pytest.approx(166.6, abs=0.2)
