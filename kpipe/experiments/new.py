"""Writes a pipeline file for a user's own data: what `kpipe run DATA` does, to be edited."""

import dataclasses
import os
import pathlib
import textwrap
from collections.abc import Mapping

from .. import files
from ..datasets import Dataset
from ..errors import UserError
from . import catalogue, keys, modules, own
from .keys import Settings

PAGE = '''\
"""{title}

Edit it, then: kpipe run {file}
"""

from kpipe import Trainer, datasets, losses, models, optimizers

task = "{task}"
data = {name}


def load_data(hp):
    return datasets.{kind}(
        {path},
{data_arguments}    {augmented}


def build_model(hp):
    data = load_data(hp)
    model = models.{builder}(
{model_arguments}    )
{weights}    model.compile(
        {optimizer},
        **losses.for_task(task),
    )
    return model


def build_trainer(hp):
    {trainer}
'''
# Arguments of the datasets, if they differ from the defaults.
RARE = {
    "task": "",
    "group": "",
    "time": "",
    "split": "",
    "drop": "",
    "embeddings": "",
    "test_fraction": 0.2,
    "val_fraction": 0.15,
    "split_seed": 0,
    "skip_bad": 0,
}
OF_DATA = ("target", "text", "image_size", "vocabulary_size", "max_length", *RARE)
OF_TRAINER = ("epochs", "batch_size", "monitor", "patience")  # others if they are set
WIDTH = 100  # of a line, if it can be divided
AUGMENTATION = tuple(
    "flip alternating_flip shift rotate zoom brightness contrast saturation erase "
    "flip_at_test".split()
)


def write_pipeline(
    name: str, data: str | os.PathLike, overrides: Mapping[str, object]
) -> pathlib.Path:
    """Writes NAME.py: the pipeline that a run of the same data and keys uses.

    Args:
        name: Name of the pipeline, or path of the file.
        data: Folder of images, or file with texts or a table.
        overrides: Keys, whose values become the defaults.

    Returns:
        The path of the file.

    Raises:
        UserError: The name is no module name, the file exists, or the data cannot be used.
    """
    path = pathlib.Path(name.removesuffix(".py") + ".py")
    if not path.stem.isidentifier():
        raise UserError(f"{path}: not a module name; expected letters, digits and _")
    if path.exists():
        raise UserError(f"{path} exists; choose another name, or delete it")
    if path.stem in [*catalogue.names(), *catalogue.OWN_DATA]:
        raise UserError(f"{path.stem} is the name of a bundled pipeline; choose another")
    if not own.is_data(data):
        raise UserError(f"{data}: a pipeline; expected your own folder or file")
    pipeline = own.find(data, overrides)
    module, _ = modules.load(*pipeline)
    settings = keys.resolve(module, overrides)
    for key, several in settings.choices.items():
        raise UserError(f"{key}={','.join(map(str, several))}: expected one value")
    modules.choose_task(module, settings.dataset)
    written = _page(path.name, pipeline, settings)
    files.write_bytes(path, written.encode())
    return path


def _page(file: str, pipeline: own.Found, settings: Settings) -> str:
    kind, dataset, values = pipeline.file.stem, settings.dataset, settings.hp.values
    builder, model, weights = _model(kind, dataset, values)
    given = {key: values[key] for key in OF_DATA if key in values}
    if kind == "text_table":
        given["text"] = values["text"] or dataset.vectorization.text_column  # type: ignore[union-attr]
    shown = {key: value for key, value in given.items() if key not in RARE or value != RARE[key]}
    augmentation = AUGMENTATION if kind == "image_folder" else ("drop_words",)
    changes = {key: values[key] for key in augmentation if values.get(key)}
    fields = {field.name: field.default for field in dataclasses.fields(settings.trainer)}
    options = {name: getattr(settings.trainer, name) for name in fields}
    options = {k: v for k, v in options.items() if k in OF_TRAINER or v != fields[k]}
    title = f"{dataset.name}: {_what(dataset)}."
    return PAGE.format(
        title=" ".join(title.split()).replace("\\", "/").replace('"', "'"),
        file=file,
        task=dataset.task,
        name=_literal(dataset.name),
        kind=kind,
        path=_literal(os.fspath(pipeline.data)),
        data_arguments="".join(f"        {argument},\n" for argument in _arguments(shown)),
        augmented=_call(").augmented", _arguments(changes), 4) if changes else ")",
        builder=builder,
        model_arguments=textwrap.indent("".join(f"{line},\n" for line in model), " " * 8),
        weights=weights,
        optimizer=_call("optimizer=optimizers.from_hyperparameters", _optimizer(values), 8),
        trainer=_call("return Trainer", _arguments(options), 4),
    )


def _what(dataset: Dataset) -> str:
    if dataset.task == "regression":
        return f"{dataset.label_names[0]}, a number"
    noun = "classes" if dataset.task == "classification" else "labels"
    return f"{len(dataset.label_names)} {noun}"


def _model(kind: str, dataset: Dataset, values: Mapping) -> tuple[str, list[str], str]:
    """Returns the builder of the network, its arguments, and the lines that load weights."""
    dropout = f'dropout=hp.Float("dropout", 0.0, 0.8, default={values["dropout"]})'
    if kind == "table":
        layers = values["num_layers"]
        units = f'hp.Int("units", 8, 1024, sampling="log", default={values["units"]})'
        sizes = ["category_sizes=data.category_sizes"] if dataset.category_sizes else []
        shape = ["data.input_shape", "len(data.label_names)", *sizes]
        return "tabular", [*shape, f"units=[{units}] * {layers}", dropout, "task=task"], ""
    architecture = values["architecture"]
    if kind == "image_folder":
        weights = ""
        if values["weights"] != "none":
            weights = f"    models.load_backbone(model, {values['weights']!r})\n"
        if values["freeze"]:
            weights += "    models.backbone(model).trainable = False\n"
        shape = ["data.input_shape", "len(data.label_names)"]
        if architecture == "resnet18":
            return "resnet18", [*shape, f"filters={values['filters']}", dropout], weights
        filters = [min(256, values["filters"] * 2**i) for i in range(values["num_blocks"])]
        options = [f"filters={filters}", 'pooling="average"', "dense_units=0"]
        return "cnn", [*shape, *options, dropout], weights
    common = [
        "len(data.label_names)",
        f"vocabulary_size={values['vocabulary_size']}",
        f"embedding_dim={values['embedding_dim']}",
        'pooling="mean_max"',
        dropout,
        "task=task",
    ]
    if values.get("ngrams"):
        common += [f"{key}={values[key]}" for key in ("ngrams", "ngram_buckets")]
    if architecture == "bag_of_embeddings":
        return architecture, [*common, "units=[64]"], ""
    if architecture == "transformer":
        return architecture, [*common, f"max_length={values['max_length']}"], ""
    return "recurrent", [*common, f'cell="{architecture}"', "bidirectional=True"], ""


def _optimizer(values: Mapping) -> list[str]:
    used = {"learning_rate": values["learning_rate"]}
    if values["optimizer"] == "sgd_momentum":
        used["momentum"] = values["momentum"]
    if values["optimizer"] == "adamw":
        used["weight_decay"] = values["weight_decay"]
    if values["schedule"] != "constant":
        used["schedule"] = values["schedule"]
        names = ("decay_rate", "decay_steps")
        used |= {name: values[name] for name in names if name in values}
    if values["gradient_accumulation_steps"] > 1:
        used["gradient_accumulation_steps"] = values["gradient_accumulation_steps"]
    used |= {name: values[name] for name in ("warmup_steps", "ema_momentum") if values.get(name)}
    return ["hp", _literal(values["optimizer"]), *_arguments(used)]


def _call(function: str, arguments: list[str], indent: int) -> str:
    """Writes a call in one line, with the arguments in a line of their own, or in one each."""
    joined, outer, inner = ", ".join(arguments), " " * indent, " " * (indent + 4)
    if len(f"{outer}{function}({joined}),") <= WIDTH:
        return f"{function}({joined})"
    if len(inner + joined) <= WIDTH:
        return f"{function}(\n{inner}{joined}\n{outer})"
    lines = "".join(f"{inner}{argument},\n" for argument in arguments)
    return f"{function}(\n{lines}{outer})"


def _arguments(values: Mapping[str, object]) -> list[str]:
    return [f"{key}={_literal(value)}" for key, value in values.items()]


def _literal(value: object) -> str:
    """Writes a value as Python code; texts in double quotes if they contain none."""
    text = repr(value)
    plain = isinstance(value, str) and text[0] == "'" and '"' not in text
    return f'"{text[1:-1]}"' if plain else text
