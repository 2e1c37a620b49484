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

from kpipe import Trainer, datasets, losses, models, optimizers

task = "auto"
data = "your file"
path = ""  # the file or DataFrame, set by `kpipe run`
data_keys = ("target",)

BATCH_SIZE = 64
STEPS = 3000  # of a training, by default


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


def steps_per_epoch(data):
    """Number of steps in an epoch."""
    return -(-data.find().examples["train"] // BATCH_SIZE)


def build_model(hp):
    """The compiled network."""
    data = load_data(hp)
    units = hp.Int("units", 8, 1024, sampling="log", default=128)
    model = models.tabular(
        data.input_shape,
        len(data.label_names),
        category_sizes=data.category_sizes,
        units=[units] * hp.Int("num_layers", 0, 4, default=2),
        dropout=hp.Float("dropout", 0.0, 0.8, step=0.05, default=0.2),
        task=data.task,
    )
    model.compile(
        optimizer=optimizers.from_hyperparameters(
            hp, "adamw", learning_rate=2e-3, weight_decay=0.02
        ),
        **losses.for_task(data.task),
    )
    return model


def build_trainer(hp):
    """The epoch with the smallest validation loss is kept."""
    epochs = max(5, min(200, STEPS // steps_per_epoch(load_data(hp))))
    return Trainer(batch_size=BATCH_SIZE, epochs=epochs, patience=max(5, epochs // 8))
