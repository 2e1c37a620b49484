"""MNIST digits with a fully connected network.

The default has three layers of 1,024 units, dropout also of the inputs, limited norms, mixed
examples and averaged weights, chosen on the validation split. recipe=documented is the lab course's
784-900-450-10 network, whose documented test accuracy is 98.25 %, with dropout and a cosine
schedule, which are not in the document. As in the course, the network is trained again on train and
val after the best epoch is determined. The keys are the course's search space: layers, units,
activations, initializers, momentum, L2, loss=squared or likelihood, 20 minutes per trial.
Full-batch training is possible by gradient accumulation. Measured on the official test split, n =
10,000: 98.95, 98.92 and 99.01 % for seeds 0, 1 and 2, mean 98.96 [98.85, 99.07] %, in 45 minutes of
training on a shared CPU core, of which half is the second training; documented 98.70 [98.46, 98.90]
% in 2 minutes, without retraining 98.65, 98.56 and 98.60 % for seeds 0, 1 and 2.

    kpipe run mnist_mlp
    kpipe run mnist_mlp recipe=documented
    kpipe run mnist_mlp recipe=documented optimizer=sgd learning_rate=0.1 loss=squared
    kpipe run mnist_mlp --search random --trials 10 --trial-budget 20m
    kpipe run mnist_mlp batch_size=1000 gradient_accumulation_steps=54 retrain=false
"""

import keras

from kpipe import Target, Trainer, datasets, figures, models, optimizers

task = "classification"
data = "mnist"
target = Target("accuracy", at_least=0.9825, source="lab course, exercise 1")
highest = "98.94 %, dropout and max-norm; 99.05 % with 2 x 8192 units (Srivastava et al., 2014)"
plots = (
    figures.learning_curves,
    figures.confusion_matrix,
    figures.per_class,
    figures.worst_mistakes,
)

# A sample has 220 steps: an average over 1,000 would consist of the first.
sample = {"ema_momentum": 0.0}

MAX_LAYERS = 4
STEPS_PER_EPOCH = 422  # 54,000 examples at 128 a step
# The defaults of the keys; each key can be overridden on its own.
RECIPES = {
    "tuned": {
        "units": (1024, 1024, 1024, 1024),  # of the first layers, as many as num_layers
        "num_layers": 3,
        "dropout": 0.3,
        "input_dropout": 0.1,
        "max_norm": 2.0,
        "mixup": 0.2,
        "ema_momentum": 0.999,
        "epochs": 80,
        "monitor": "val_loss",
        "patience": 0,
    },
    "documented": {
        "units": (900, 450, 450, 450),
        "num_layers": 2,
        "dropout": 0.3,
        "input_dropout": 0.0,
        "max_norm": 0.0,
        "mixup": 0.0,
        "ema_momentum": 0.0,
        "epochs": 20,
        "monitor": "val_accuracy",
        "patience": 10,
    },
}


def recipe(hp):
    """The defaults of all other keys."""
    return RECIPES[hp.Choice("recipe", list(RECIPES), default="tuned")]


def load_data(hp):
    """Digits as uint8 (28, 28, 1) images with labels 0 to 9, in train, val and test."""
    return datasets.mnist(val_fraction=0.1)


def build_model(hp):
    """The compiled network; the defaults are this experiment."""
    default = recipe(hp)
    num_layers = hp.Int("num_layers", 0, MAX_LAYERS, default=default["num_layers"])
    units = []
    for i, width in enumerate(default["units"], start=1):
        with hp.conditional_scope("num_layers", list(range(i, MAX_LAYERS + 1))):
            units.append(hp.Int(f"units_{i}", 8, 2048, sampling="log", default=width))
    model = models.mlp(
        input_shape=(28, 28, 1),
        num_classes=10,
        units=units[:num_layers],
        activation=hp.Choice(
            "activation", ["relu", "leaky_relu", "tanh", "sigmoid", "linear"], default="relu"
        ),
        initializer=hp.Choice(
            "initializer",
            ["glorot_uniform", "glorot_normal", "random_normal"],
            default="glorot_uniform",
        ),
        l1=hp.Choice("l1", [0.0, 1e-6, 1e-5, 1e-4], default=0.0),
        l2=hp.Choice("l2", [0.0, 1e-6, 1e-5, 1e-4, 1e-3], default=0.0),
        dropout=hp.Float("dropout", 0.0, 0.8, step=0.05, default=default["dropout"]),
        input_dropout=hp.Float("input_dropout", 0.0, 0.5, default=default["input_dropout"]),
        max_norm=hp.Float("max_norm", 0.0, 10.0, default=default["max_norm"]),
    )
    losses = {"likelihood": "sparse_categorical_crossentropy", "squared": squared_loss}
    model.compile(
        optimizer=optimizers.from_hyperparameters(
            hp,
            "adam",
            learning_rate=1e-3,
            schedule="cosine",
            decay_steps=default["epochs"] * STEPS_PER_EPOCH,
            ema_momentum=default["ema_momentum"],
        ),
        loss=losses[hp.Choice("loss", list(losses), default="likelihood")],
        metrics=["accuracy"],
    )
    return model


def squared_loss(labels, probabilities):
    """Half the squared distance to the label's one-hot vector, (n,)."""
    labels = keras.ops.cast(keras.ops.reshape(labels, (-1,)), "int32")
    one_hot = keras.ops.one_hot(labels, probabilities.shape[-1])
    return keras.ops.sum(keras.ops.square(probabilities - one_hot), axis=-1) / 2


def build_trainer(hp):
    """The epoch with the best validation accuracy; then as many epochs on train and val."""
    default = recipe(hp)
    return Trainer(
        batch_size=128,
        epochs=default["epochs"],
        sample_epochs=20,
        # Accuracies of the last epochs differ by chance, and a retraining would end too early.
        monitor=default["monitor"],
        patience=default["patience"],
        retrain=True,
        # Mixed labels have this loss alone.
        mixup=default["mixup"] if hp.get("loss") == "likelihood" else 0.0,
    )
