"""Your own images: a folder with one folder per class.

A small convolutional network, trained from scratch with augmentation, is compared with logistic
regression on reduced pixels. Folders train, val and test above the classes are used; otherwise 20 %
of the images are the test split, and copies of an image are never on both sides.
architecture=resnet18 is a larger network; weights= starts from the backbone of another run.
backbone= is a network trained on ImageNet, such as mobilenet_v3_small or efficientnet_lite0
weights=FILE: its features are computed once and a dense layer learns from them; fine_tune=true then
trains the backbone as well.

    kpipe run photos/
    kpipe run photos/ backbone=mobilenet_v3_small fine_tune=true
    kpipe run photos/ image_size=128 class_weight=balanced
    kpipe look photos/
"""

from kpipe import Trainer, datasets, figures, losses, models, optimizers

task = "classification"
data = "your folder"
path = ""  # the folder, set by `kpipe run`
data_keys = ("skip_bad",)
plots = (
    figures.learning_curves,
    figures.confusion_matrix,
    figures.roc_curve,
    figures.per_class,
    figures.worst_mistakes,
    figures.augmented_examples,
    figures.first_layer_filters,
)

SIZES = [32, 48, 64, 96, 128, 160, 224]
BATCH_SIZE = 32
IMAGES = 60_000  # seen in a training, by default
HEAD_EPOCHS = 30  # on the features of a frozen backbone


def pretrained(hp):
    """Whether a backbone was trained on ImageNet; it has seen larger images."""
    return hp.Fixed("backbone", "none") != "none"


def load_data(hp):
    """Images as uint8 (image_size, image_size, channels); train is augmented."""
    alternating = hp.Fixed("alternating_flip", False)
    return datasets.image_folder(
        path,
        image_size=hp.Choice("image_size", SIZES, default=128 if pretrained(hp) else 64),
        test_fraction=hp.Fixed("test_fraction", 0.2),
        val_fraction=hp.Fixed("val_fraction", 0.15),
        split_seed=hp.Fixed("split_seed", 0),
        skip_bad=hp.Fixed("skip_bad", 0),
    ).augmented(
        flip=hp.Boolean("flip", default=not alternating),
        alternating_flip=alternating,
        shift=hp.Int("shift", 0, 16, default=4),
        rotate=hp.Float("rotate", 0.0, 180.0, default=10.0),
        zoom=hp.Float("zoom", 0.0, 0.6, default=0.2),
        brightness=hp.Float("brightness", 0.0, 0.5, default=0.1),
        contrast=hp.Float("contrast", 0.0, 0.8, default=0.2),
        saturation=hp.Float("saturation", 0.0, 0.8, default=0.0),
        erase=hp.Float("erase", 0.0, 0.7, default=0.0),
        flip_at_test=hp.Fixed("flip_at_test", False),
    )


def freeze(hp):
    """Whether only the head is trained, or trained first."""
    return hp.Boolean("freeze", default=pretrained(hp))


def epochs(hp, data):
    """Number of epochs, so that a training sees `IMAGES` images: fewer epochs for more images."""
    if freeze(hp) and pretrained(hp):
        return HEAD_EPOCHS
    return max(5, min(100, IMAGES // data.find().examples["train"]))


def build_model(hp):
    """The compiled network."""
    data = load_data(hp)
    dropout = hp.Float("dropout", 0.0, 0.8, step=0.05, default=0.4)
    weights = hp.Fixed("weights", "imagenet" if pretrained(hp) else "none")
    shape, num_classes = data.input_shape, len(data.label_names)
    if pretrained(hp):
        backbone = hp.Fixed("backbone", "none")
        model = models.pretrained(backbone, shape, num_classes, weights=weights, dropout=dropout)
    elif hp.Choice("architecture", ["cnn", "resnet18"], default="cnn") == "resnet18":
        filters = hp.Int("filters", 8, 64, sampling="log", default=16)
        model = models.resnet18(shape, num_classes, filters=filters, dropout=dropout)
    else:
        filters = hp.Int("filters", 8, 64, sampling="log", default=32)
        # As many as halve the image to 4 pixels.
        num_blocks = hp.Int("num_blocks", 1, 6, default=max(1, (shape[0] // 4).bit_length() - 1))
        model = models.cnn(
            shape,
            num_classes,
            filters=[min(256, filters * 2**i) for i in range(num_blocks)],
            pooling="average",
            dense_units=0,
            dropout=dropout,
        )
    if weights != "none" and not pretrained(hp):
        models.load_backbone(model, weights)
    if freeze(hp):
        models.backbone(model).trainable = False
    steps = epochs(hp, data) * -(-data.find().examples["train"] // BATCH_SIZE)
    model.compile(
        optimizer=optimizers.from_hyperparameters(
            hp,
            "adamw",
            learning_rate=1e-3 if pretrained(hp) else 2e-3,
            weight_decay=0.05,
            schedule="cosine",
            decay_steps=steps,
        ),
        **losses.for_task(data.task),
    )
    return model


def build_trainer(hp):
    """All epochs are run; the one with the best validation accuracy is kept."""
    return Trainer(
        batch_size=BATCH_SIZE,
        epochs=epochs(hp, load_data(hp)),
        monitor="val_accuracy",
        patience=0,
        cache_features=pretrained(hp) and freeze(hp),
    )
