"""CIFAR-10 with a ResNet18 whose backbone can be pretrained.

Reproduces the third homework: a pretrained ResNet18 with a dense head, fine-tuned. weights= is the
source of the backbone: none (the same network from scratch, for comparison at the same budget),
imagenet (Keras Hub's preset; needs kpipe[hub], filters=64 stem=imagenet upsample=4), a .keras or
.weights.h5 file, or the folder of another run of this network. Measured on a lossy JPEG copy, n =
10,000, three epochs each (epochs=3 decay_steps=1056), in 7 minutes of training on a shared CPU
core, mean over three seeds: from scratch 70.39 [68.21, 72.56] %, with the backbone of a run on
groceries 68.30 [66.82, 69.77] %, which is significantly worse.

backbone= is another network trained on ImageNet, here on images enlarged to 96 pixels: its features
are computed once and a dense layer learns from them; fine_tune=true then trains the backbone as
well. With efficientnet_lite0: 77.29 [76.46, 78.10] % in 101 s of training; fine-tuned for one epoch
within 600 s on a shared CPU core (fine_tune_epochs=1 --budget 600s) 84.15 [84.04, 84.27] %, mean
over three seeds. ResNet18 from scratch (epochs=4 decay_steps=1408 --budget 600s) has 73.42 [69.72,
77.13] % then, 10.73 points [6.91, 14.55] less.

    kpipe run cifar10_transfer
    kpipe run cifar10_transfer weights=saved_models/grocery_cnn,architecture=resnet18
    kpipe run cifar10_transfer weights=imagenet filters=64 stem=imagenet upsample=4
    kpipe run cifar10_transfer backbone=efficientnet_lite0 weights=imagenet.npz fine_tune=true
"""

from kpipe import Target, Trainer, datasets, figures, models, optimizers

task = "classification"
data = "cifar10"
target = Target("accuracy", at_least=0.80, source="this project's aim on two CPU cores")
plots = (
    figures.learning_curves,
    figures.confusion_matrix,
    figures.per_class,
    figures.worst_mistakes,
    figures.augmented_examples,
)


HEAD_EPOCHS = 20  # on the features of a frozen backbone


def pretrained(hp):
    """Whether the backbone is another network, trained on ImageNet."""
    return hp.Fixed("backbone", "none") != "none"


def freeze(hp):
    """Whether only the head is trained, or trained first."""
    return hp.Boolean("freeze", default=pretrained(hp))


def load_data(hp):
    """Images as uint8 (32, 32, 3) with labels 0 to 9; train is flipped and shifted."""
    return datasets.cifar10(val_fraction=0.1).augmented(
        flip=hp.Boolean("flip", default=True),
        shift=hp.Int("shift", 0, 8, default=4),
        flip_at_test=hp.Fixed("flip_at_test", False),
    )


def build_model(hp):
    """The compiled network; keys load or freeze its backbone, or scale its learning rate."""
    weights = hp.Fixed("weights", "imagenet" if pretrained(hp) else "none")
    upsample = hp.Choice("upsample", [1, 2, 3, 4, 7], default=3 if pretrained(hp) else 1)
    dropout = hp.Float("dropout", 0.0, 0.8, step=0.05, default=0.0)
    if pretrained(hp):
        model = models.pretrained(
            hp.Fixed("backbone", "none"),
            (32, 32, 3),
            10,
            weights=weights,
            upsample=upsample,
            dropout=dropout,
        )
    else:
        model = models.resnet18(
            input_shape=(32, 32, 3),
            num_classes=10,
            filters=hp.Int("filters", 8, 64, sampling="log", default=16),
            stem=hp.Choice("stem", ["small", "imagenet"], default="small"),
            upsample=upsample,
            dropout=dropout,
        )
    optimizer = optimizers.from_hyperparameters(
        hp,
        "adamw",
        learning_rate=1e-3 if pretrained(hp) else 2e-3,
        weight_decay=0.05,
        schedule="cosine",
        decay_steps=352 * epochs(hp),  # 45,000 images at 128 a step
    )
    loaded = weights != "none"
    rate = hp.Float("backbone_rate", 0.01, 1.0, sampling="log", default=1.0)
    warmup = hp.Int("backbone_warmup_steps", 0, 10_000, default=100 if loaded else 0)
    backbone = models.backbone(model)
    if loaded and not pretrained(hp):
        models.load_backbone(model, weights)
    if freeze(hp):
        backbone.trainable = False
    elif rate < 1 or warmup:
        optimizers.scale_learning_rate(optimizer, backbone.trainable_variables, rate, warmup)
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def epochs(hp):
    """Five epochs, the budget of both networks, or more of a head alone."""
    return HEAD_EPOCHS if pretrained(hp) and freeze(hp) else 5


def build_trainer(hp):
    """All epochs are run; the one with the best validation accuracy is kept."""
    return Trainer(
        batch_size=128,
        epochs=epochs(hp),
        monitor="val_accuracy",
        patience=0,
        cache_features=pretrained(hp) and freeze(hp),
    )
