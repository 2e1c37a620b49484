"""Autoencoders of CIFAR-10 in grey: linear, sigmoid, deep, denoising; compared with the SVD.

Reproduces homework 5 with codes of 64 numbers for 1,024 pixels. Measured on a lossy JPEG copy,
official test split, n = 10,000, squared errors in thousandths: truncated SVD 6.496 [6.426, 6.567],
linear 6.572 [6.501, 6.644], sigmoid 8.305 [8.213, 8.397], deep 8.989 [8.895, 9.084], in seconds to
4 minutes of training on a shared CPU core. On train the linear network's error is 1.011 times that
of the SVD, which is its lower bound. "Sigmoid beats linear" is not reproduced. Denoising raises
PSNR from a noise level of about 0.1 on: by 0.46 dB at 0.1, 5.31 at 0.2, 9.09 at 0.5; at 0.05 it
lowers PSNR by 5.13 dB. architecture=residual, not measured yet, has no bottleneck; every denoiser
is compared with a Wiener filter.

    kpipe run cifar10_autoencoder
    kpipe run cifar10_autoencoder architecture=sigmoid
    kpipe run cifar10_autoencoder architecture=deep
    kpipe run cifar10_autoencoder architecture=denoising noise=0.3
    kpipe run cifar10_autoencoder architecture=residual
    kpipe run cifar10_autoencoder architecture=convolutional
"""

from kpipe import Target, Trainer, datasets, figures, losses, models, optimizers

task = "reconstruction"
data = "cifar10"
target = Target(
    "train_error_over_svd", at_most=1.05, source="homework 5: a linear autoencoder spans the same"
)
plots = (
    figures.learning_curves,
    figures.reconstructions,
    figures.denoising,
    figures.code_scatter,
)

ARCHITECTURES = {
    # no biases and no activations: the same space as the truncated SVD's
    "linear": {"activations": ("linear", "linear"), "use_bias": False},
    "sigmoid": {"activations": ("sigmoid", "sigmoid")},
    # five encoding layers, four decoding ones
    "deep": {"units": (512, 384, 256, 128), "decoder_units": (256, 384, 512)},
    "denoising": {"units": (512, 384, 256, 128), "decoder_units": (256, 384, 512), "noise": 0.2},
    # a denoiser without a bottleneck, for all levels of noise up to this
    "residual": {"noise": 0.55, "epochs": 10},
    "convolutional": {"filters": (32, 64, 128)},
}


def architecture(hp):
    """The layers of the architecture."""
    return ARCHITECTURES[hp.Choice("architecture", list(ARCHITECTURES), default="linear")]


def epochs(hp):
    """Number of epochs."""
    return architecture(hp).get("epochs", 30)


def load_data(hp):
    """Grey images as uint8 (32, 32, 1), to be reconstructed without noise."""
    noise = hp.Float("noise", 0.0, 1.0, default=architecture(hp).get("noise", 0.0))
    with hp.conditional_scope("architecture", ["residual"]):
        # Of each image it is drawn from there up to `noise`.
        least = hp.Float("least_noise", 0.0, 1.0, default=0.0)
    if hp.get("architecture") == "residual":
        noise = (min(least, noise), noise)
    return datasets.cifar10(val_fraction=0.1, grey=True).as_autoencoder_data(noise=noise)


def build_model(hp):
    """The compiled autoencoder."""
    layers = architecture(hp)
    if hp.get("architecture") == "residual":
        with hp.conditional_scope("architecture", ["residual"]):
            filters = hp.Int("filters", 8, 256, sampling="log", default=32)
            depth = hp.Int("depth", 2, 20, default=6)
        return compiled(models.denoiser((32, 32, 1), filters=filters, depth=depth), hp)
    code_activation, output_activation = layers.get("activations", ("linear", "sigmoid"))
    model = models.autoencoder(
        (32, 32, 1),
        hp.Int("latent_dim", 1, 1024, sampling="log", default=64),
        units=layers.get("units", ()),
        decoder_units=layers.get("decoder_units"),
        filters=layers.get("filters", ()),
        code_activation=code_activation,
        output_activation=output_activation,
        use_bias=layers.get("use_bias", True),
    )
    return compiled(model, hp)


def compiled(model, hp):
    """The model with optimizer and loss."""
    model.compile(
        optimizer=optimizers.from_hyperparameters(
            hp,
            "adam",
            learning_rate=1e-3,
            schedule="cosine",
            decay_steps=epochs(hp) * 352,  # 45,000 images at 128 a step
        ),
        loss=losses.squared_error,
    )
    return model


def build_trainer(hp):
    """The epoch with the smallest validation error is kept."""
    return Trainer(
        batch_size=128, epochs=epochs(hp), sample_epochs=10, monitor="val_loss", patience=0
    )
