"""Your own table: numbers, categories, booleans and dates predict a column.

A multilayer perceptron with embeddings of the categories is compared with gradient-boosted trees.
The task follows from the target: few values or text are classes, many numbers a regression, several
columns (target=a,b) labels that are 0 or 1; task= overrides it. Missing values are filled by the
median, and marked; identifiers, constants and texts are left out. The exported model takes the raw
columns by name.

    kpipe run houses.csv target=price
    kpipe run houses.parquet target=price group=town
    kpipe look houses.csv target=price
"""

import math

from kpipe import Trainer, datasets, losses, models, optimizers

task = "auto"
data = "your file"
path = ""  # the file or DataFrame, set by `kpipe run`
data_keys = ("target", "skip_bad")

BATCH_SIZE = 64
STEPS = 20_000  # at most in a training, by default
MANY = 5_000  # rows, from which on a network needs no dropout


def load_data(hp):
    """Encoded rows as float32; numbers and categories are fitted to train."""
    return datasets.table(
        path,
        target=hp.Fixed("target", ""),
        task=hp.Fixed("task", ""),
        group=hp.Fixed("group", ""),
        time=hp.Fixed("time", ""),
        split=hp.Fixed("split", ""),
        drop=hp.Fixed("drop", ""),
        test_fraction=hp.Fixed("test_fraction", 0.2),
        val_fraction=hp.Fixed("val_fraction", 0.15),
        split_seed=hp.Fixed("split_seed", 0),
        skip_bad=hp.Fixed("skip_bad", 0),
    )


def steps_and_epochs(data):
    """Number of steps in an epoch, and of epochs: fewer for more rows."""
    rows = data.find().examples["train"] * (1 - data.val_fraction)
    steps = math.ceil(rows / BATCH_SIZE)
    return steps, max(5, min(200, STEPS // steps))


def build_model(hp):
    """The compiled network."""
    data = load_data(hp)
    steps, epochs = steps_and_epochs(data)
    units = hp.Int("units", 8, 1024, sampling="log", default=256)
    dropout = 0.0 if steps * BATCH_SIZE > MANY else 0.2
    model = models.tabular(
        data.input_shape,
        len(data.label_names),
        category_sizes=data.category_sizes,
        units=[units] * hp.Int("num_layers", 0, 4, default=2),
        dropout=hp.Float("dropout", 0.0, 0.8, step=0.05, default=dropout),
        task=data.task,
    )
    model.compile(
        optimizer=optimizers.from_hyperparameters(
            hp,
            "adamw",
            learning_rate=2e-3,
            weight_decay=0.02,
            schedule="cosine",
            decay_steps=max(10, epochs * steps),
        ),
        **losses.for_task(data.task),
    )
    return model


def build_trainer(hp):
    """All epochs are run; the one with the smallest validation loss is kept."""
    _, epochs = steps_and_epochs(load_data(hp))
    return Trainer(batch_size=BATCH_SIZE, epochs=epochs, patience=0)
