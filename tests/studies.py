"""Searches made up here: for their page, and to look at it."""

import math

import numpy as np

from kpipe.records import Record
from kpipe.records.study import PartRecord, Study, TrialRecord

SPACE = {
    "learning_rate": ("1e-05 to 1", "log"),
    "optimizer": ("sgd, sgd_momentum, adam, adamw", "choice"),
    "momentum": ("0 to 0.99", "linear"),  # of sgd_momentum only
    "units_1": ("8 to 2,048", "log"),
    "dropout": ("0 to 0.8", "linear"),
    "batch_size": ("32, 64, 128, 256", "choice"),
}


def make_study(trials=40, keys=6, failed=0.1, objective="val_accuracy", seed=0, **options) -> Study:
    """A search whose objective depends on the learning rate and the optimizer, and on chance."""
    rng = np.random.default_rng(seed)
    space = dict(list(SPACE.items())[:keys])
    space |= {f"key_{i}": ("0 to 1", "linear") for i in range(keys - len(space))}
    done = [
        _trial(rng, i + 1, space, failed, objective, options.get("repeats", 1))
        for i in range(trials)
    ]
    for trial in done:
        trial.ended = sum(other.seconds + 4 for other in done[: trial.trial])
    direction = "max" if objective.endswith("accuracy") else "min"
    study = Study(
        tuner="random",
        objective=objective,
        direction=direction,
        space={key: words for key, (words, _) in space.items()},
        scales={key: scale for key, (_, scale) in space.items()},
        size=None,
        trials=done,
        **options,
    )
    study.best = study.ranked[0].trial if study.ranked else None
    return study


def _trial(rng, number, space, failed, objective, repeats) -> TrialRecord:
    values = {key: _draw(rng, words, scale) for key, (words, scale) in space.items()}
    if values.get("optimizer") != "sgd_momentum":
        values.pop("momentum", None)
    if rng.random() < failed:
        why = "the loss is not a number from step 12 on: lower the learning_rate"
        return TrialRecord(trial=number, status="failed", values=values, error=why)
    badness = 0.02 + 0.006 * (math.log10(values.get("learning_rate", 1e-3)) + 2.7) ** 2
    badness += 0.03 * (values.get("optimizer") == "sgd") + 0.01 * values.get("dropout", 0)
    parts = []
    for repeat in range(repeats):
        epochs = int(rng.integers(3, 20))
        final = max(1e-3, badness + 0.003 * rng.standard_normal())
        error = final + 0.2 * np.exp(-np.arange(epochs) / 3) + 0.002 * rng.random(epochs)
        curve = 1 - error if objective.endswith("accuracy") else 4 * error
        best = int(np.argmin(error))
        parts.append(
            PartRecord(
                repeat=repeat,
                fold=0,
                value=float(curve[best]),
                best_epoch=best + 1,
                epochs=epochs,
                seconds=float(epochs * rng.uniform(1, 3)),
                parameters=int(values.get("units_1", 64)) * 784,
                stopped_by="patience",
                examples=6000,
                curves={"epoch": [*range(1, epochs + 1)], objective: curve.tolist()},
            )
        )
    value = float(np.mean([part.value for part in parts]))
    near = 0.0035 if objective.endswith("accuracy") else 0.01
    return TrialRecord(
        trial=number,
        status="completed",
        values=values,
        value=value,
        low=value - near,
        high=value + near,
        parts=parts,
    )


def _draw(rng, words, scale):
    if scale == "choice":
        value = rng.choice(words.split(", ")).item()
        return int(value) if value.isdecimal() else value
    low, high = (float(end.replace(",", "")) for end in words.split(" to "))
    if scale == "log":
        value = math.exp(rng.uniform(math.log(low), math.log(high)))
    else:
        value = rng.uniform(low, high)
    return round(value) if "e" not in words and "." not in words and high > 1 else float(value)


def make_record(**options) -> Record:
    data = {
        "name": "mnist",
        "kind": "real",
        "official": True,
        "description": "MNIST of tensorflow-datasets",
        "examples": {"train": 54000, "val": 6000},
        **options.pop("data", {}),
    }
    return Record.from_json(
        {
            "pipeline": "mnist_mlp",
            "task": "classification",
            "title": "MNIST digits with a fully connected network.",
            "command": "kpipe run mnist_mlp --data real --search random --trials 40 --jobs 2",
            "status": "finished",
            "hyperparameters": {"schedule": "cosine", "learning_rate": 0.001},
            "data": data,
            **options,
        }
    )
