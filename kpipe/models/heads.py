"""The last layer of a network, as its task needs it."""

from typing import Any

import keras

# Task: name of the output and activation of the last layer.
HEADS = {
    "classification": ("probabilities", "softmax"),
    "multilabel": ("probabilities", "sigmoid"),
    "regression": ("value", "linear"),
}


def head(
    x: keras.KerasTensor, num_outputs: int, task: str, dropout: float = 0.0, **options: Any
) -> dict[str, keras.KerasTensor]:
    """Builds the outputs of a network.

    Args:
        x: Features, (batch, size).
        num_outputs: Number of classes or labels; 1 for a regression.
        task: "classification", "multilabel" or "regression".
        dropout: Dropout rate of the features.
        **options: Further arguments of the dense layer.

    Returns:
        {"probabilities": float32 (batch, num_outputs)}, or {"value": float32 (batch, 1)}.

    Raises:
        ValueError: The task is unknown.
    """
    if task not in HEADS:
        raise ValueError(f"task={task!r}: expected one of {', '.join(HEADS)}")
    name, activation = HEADS[task]
    layer = keras.layers.Dense(
        num_outputs, activation=activation, dtype="float32", name=name, **options
    )
    return {name: layer(keras.layers.Dropout(dropout)(x) if dropout else x)}
