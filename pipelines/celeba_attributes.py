"""CelebA faces at 32x32 pixels: all 40 attributes at once, by a convolutional network.

Reproduces task B of the lab course's second exercise: the network of celeba_gender predicts 40
attributes instead of one; the question is how this affects the accuracy of Male. Train
celeba_gender first, into the same folder: the report then shows the difference with its interval.
Attributes that are constant in the training images are left out. Measured on UTKFace in CelebA's
format, where only Male and Young are known, n = 2,277: their mean accuracy is 89.04 [88.15, 89.93],
89.37 [88.50, 90.25] and 89.70 [88.84, 90.56] % for seeds 0, 1, 2, compared with 61.26 % of the
majority classes, in 12 minutes of training on a shared CPU core; Male 91.04 % in the mean, which is
-0.73 points [-1.95, 0.48] from celeba_gender.

    kpipe run celeba_attributes
    kpipe run celeba_attributes filters=32
"""

from kpipe import Target, Trainer, datasets, figures, models, optimizers

task = "multilabel"
data = "celeb_a"
target = Target("accuracy", at_least=0.87, source="Liu et al. 2015, 87 % at full size, reference")
highest = "91.95 %, all attributes at full size"
plots = (
    figures.learning_curves,
    figures.label_accuracies,
    figures.compare_single_task,
    figures.first_layer_filters,
    figures.augmented_examples,
)


def load_data(hp):
    """Faces as uint8 (32, 32, 3) images with 40 labels; train is augmented."""
    return datasets.celeba(attribute=None, image_size=32).augmented(
        flip=hp.Boolean("flip", default=True),
        shift=hp.Int("shift", 0, 8, default=2),
        brightness=hp.Float("brightness", 0.0, 0.5, default=0.1),
    )


def build_model(hp):
    """The network of celeba_gender with 40 independent probabilities."""
    filters = hp.Int("filters", 8, 128, sampling="log", default=32)
    num_blocks = hp.Int("num_blocks", 1, 4, default=4)
    model = models.cnn(
        input_shape=(32, 32, 3),
        num_classes=40,
        output_activation="sigmoid",
        filters=[filters * 2**i for i in range(num_blocks)],
        convolutions=hp.Int("convolutions", 1, 3, default=1),
        batch_norm=hp.Boolean("batch_norm", default=True),
        dense_units=hp.Int("dense_units", 0, 512, default=128),
        dropout=hp.Float("dropout", 0.0, 0.8, step=0.05, default=0.4),
    )
    model.compile(
        optimizer=optimizers.from_hyperparameters(hp, "adam", learning_rate=1e-3),
        loss="binary_crossentropy",
        metrics=["binary_accuracy"],
    )
    return model


def build_trainer(hp):
    """On a plateau of the validation loss the learning rate is reduced, then training stops."""
    return Trainer(
        batch_size=128,
        epochs=25,
        sample_epochs=12,
        monitor="val_loss",
        patience=6,
        reduce_lr_patience=2,
    )
