"""The script that a user of Keras writes: train, keep the best epoch, evaluate, export.

    python benchmarks/script_keras.py RECIPE.json DATA.npz FOLDER

`commands.py` measures it; the last line is JSON: when each stage ended, in seconds since 1970.
"""

import json
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf


def main() -> None:
    with open(sys.argv[1]) as file:
        recipe = json.load(file)
    data = np.load(sys.argv[2])
    keras.utils.set_random_seed(0)
    is_image = data["train_x"].ndim == 4
    layers = [keras.Input(data["train_x"].shape[1:])]
    if is_image:
        layers += [keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    for units in recipe["units"]:
        layers.append(keras.layers.Dense(units, activation=recipe["activation"]))
        if recipe["dropout"]:
            layers.append(keras.layers.Dropout(recipe["dropout"]))
    layers.append(keras.layers.Dense(recipe["classes"], activation="softmax"))
    model = keras.Sequential(layers)
    rate = recipe["learning_rate"]
    if recipe["decay_steps"]:
        rate = keras.optimizers.schedules.CosineDecay(rate, recipe["decay_steps"])
    optimizer = keras.optimizers.get(
        {"class_name": recipe["optimizer"], "config": {"learning_rate": rate}}
    )
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    train = tf.data.Dataset.from_tensor_slices((data["train_x"], data["train_y"])).cache()
    train = train.shuffle(len(data["train_y"])).batch(recipe["batch_size"])
    val = tf.data.Dataset.from_tensor_slices((data["val_x"], data["val_y"])).batch(256).cache()
    epochs = []

    class Clock(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
            epochs.append((time.time(), (logs or {})["val_accuracy"]))

    stopping = keras.callbacks.EarlyStopping(
        "val_accuracy", patience=recipe["patience"] or sys.maxsize, restore_best_weights=True
    )
    said = {"ready": time.time()}
    model.fit(
        train.prefetch(tf.data.AUTOTUNE),
        epochs=recipe["epochs"],
        validation_data=val.prefetch(tf.data.AUTOTUNE),
        callbacks=[stopping, Clock()],
        verbose=0,
        shuffle=False,
    )
    said["trained"] = time.time()
    _, accuracy = model.evaluate(data["test_x"], data["test_y"], batch_size=256, verbose=0)
    said["evaluated"] = time.time()
    model.export(sys.argv[3], verbose=False)
    said["exported"] = time.time()
    print(json.dumps({**said, "epochs": epochs, "test_accuracy": accuracy}))


if __name__ == "__main__":
    main()
