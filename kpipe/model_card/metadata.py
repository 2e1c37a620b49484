"""The front matter of a model card: YAML that the Hugging Face Hub reads.

The specification is https://github.com/huggingface/hub-docs/blob/main/modelcard.md.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .. import formatting
from ..records import DataRecord, Record, Run
from ..tasks import TASKS

# Our metrics that have a name on the Hub (https://hf.co/metrics); others keep their own.
_METRICS = {"macro_f1": "f1", "r2": "r_squared"}
# Metrics of each task that the front matter lists, besides the main one; all are of the network.
_LISTED = {
    "classification": ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "log_loss"),
    "multilabel": ("accuracy",),
    "regression": ("mae", "rmse", "r2"),
    "reconstruction": ("psnr", "ssim", "squared_error", "negative_log_likelihood"),
}
_CALIBRATION = ("calibrated_ece", "set_coverage")
# The Hub's tasks, by input and task; those that it does not have are named the same way.
_HUB_TASKS = {
    "image-classification",
    "image-to-image",
    "tabular-classification",
    "tabular-regression",
    "text-classification",
}
# Datasets of TFDS that the Hub has with the same examples (https://hf.co/datasets/NAME). Another
# name, such as diabetes, would be taken for somebody else's data.
HUB_DATASETS = {
    "ag_news_subset": "fancyzhx/ag_news",
    "cifar10": "uoft-cs/cifar10",
    "cifar100": "uoft-cs/cifar100",
    "fashion_mnist": "zalando-datasets/fashion_mnist",
    "imdb_reviews": "stanfordnlp/imdb",
    "mnist": "ylecun/mnist",
}
# Truth tables and the like: nobody measured or published them.
DEFINED = ("and_gate", "or_gate", "nand_gate", "xor_gate", "one_example")
_KINDS = {"sample": "SAMPLE DATA: a small stand-in", "own": "own data"}
# What YAML 1.1 does not read as text, although it looks like it.
_RESERVED = set("y n yes no on off true false null none nan inf".split())
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")


def input_kind(record: Record) -> str:
    """Returns what a model takes, as the Hub names it: "image", "text" or "tabular".

    Vectors are "tabular". Runs of format 1 are known by their first layer.
    """
    first = record.model.layers[0] if record.model and record.model.layers else None
    if record.data.usage.startswith("--text") or "vocabulary" in record.data.about:
        return "text"
    if record.data.usage.startswith("IMAGE"):
        return "image"
    if record.data.usage:
        return "tabular"
    if first and first.name in ("tokens", "texts"):
        return "text"
    return "image" if first and len(first.output_shape) == 4 else "tabular"


def task_type(record: Record) -> str:
    """Returns the Hub's name of a task, such as "image-classification"."""
    kind, task = input_kind(record), task_name(record)
    if task == "reconstruction":
        return "image-to-image"
    return f"{kind}-{'regression' if task == 'regression' else 'classification'}"


def task_name(record: Record) -> str:
    """Returns the name of a run's task; format 1 had another one."""
    return record.task if record.task in TASKS else "multilabel"


def tags(record: Record) -> list[str]:
    """Returns the tags that a new card begins with."""
    return ["kpipe", "keras", "tensorflow", task_name(record), task_type(record)]


def is_defined(data: DataRecord) -> bool:
    """Whether data are defined by code of kpipe instead of measured."""
    return data.kind == "real" and data.name in DEFINED


def kind_of(data: DataRecord) -> str:
    """Returns in words what kind of data they are: "real"."""
    return "defined by kpipe" if is_defined(data) else _KINDS.get(data.kind, data.kind)


def dataset_of(data: DataRecord) -> tuple[str, str]:
    """Returns type and name of the data: the Hub's identifier only for what it has."""
    if data.kind == "sample":
        return "sample-data", f"SAMPLE DATA instead of {data.name}"
    if data.kind == "own":  # own files may have the name of a published dataset
        return "own-data", f"{data.name} (own data)"
    if not data.official:
        return "unofficial-data", f"{data.name} (not the official data)"
    if is_defined(data):
        return "defined-data", f"{data.name} (defined by kpipe)"
    return HUB_DATASETS.get(data.name, "other-data"), data.name


def of_run(run: Run) -> dict[str, Any]:
    """Returns the front matter that follows from a run; what people add is not in it."""
    record = run.record
    dataset, name = dataset_of(record.data)
    measured = list(_results(run))
    content: dict[str, Any] = {"library_name": "keras"}
    if (task := task_type(record)) in _HUB_TASKS:
        content["pipeline_tag"] = task
    if dataset in HUB_DATASETS.values():
        content["datasets"] = [dataset]
    content["metrics"] = list(dict.fromkeys(entry["type"] for entry in measured))
    result = {
        "task": {"type": task, "name": TASKS[task_name(record)]},
        "dataset": {"type": dataset, "name": name, "split": "test"},
        "metrics": measured,
    }
    content["model-index"] = [{"name": record.pipeline, "results": [result]}]
    return content


def _results(run: Run) -> Iterator[dict[str, Any]]:
    names = (run.headline, *_LISTED[task_name(run.record)], *_CALIBRATION)
    for name in dict.fromkeys(names):
        entry = run.metrics.get(name, {})
        if (value := entry.get("value")) is None or name.startswith("train_"):  # not of test
            continue
        said = formatting.with_unit(name)
        if bounds := formatting.interval(name, entry):
            unit = " %" if formatting.is_share(name) else ""
            said += f", 95 % interval {bounds}{unit}"
        if (n := entry.get("n")) is not None:
            said += f", n = {n:,}"
        yield {"type": _METRICS.get(name, name), "value": value, "name": said}


def to_yaml(content: Mapping[str, Any]) -> str:
    r"""Writes names, texts and numbers in dicts and lists as YAML, without a library for it.

    Texts are quoted as in JSON, which YAML contains, unless they are plain words.

    Args:
        content: The content; its keys are plain words.

    Example:
        to_yaml({"tags": ["keras"], "value": 1e-05})  # "tags:\n- keras\nvalue: 1.0e-05"
    """
    return "\n".join(_lines(content))


def _lines(content: Mapping[str, Any] | list[Any]) -> Iterator[str]:
    """Yields lines; those of an entry of a list begin with "- ", those of a dict with a key."""
    pairs = content.items() if isinstance(content, Mapping) else (("-", v) for v in content)
    for key, value in pairs:
        start = key if key == "-" else f"{key}:"
        if not isinstance(value, (Mapping, list)) or not value:
            yield f"{start} {_scalar(value)}"
        elif key == "-":
            first, *rest = _lines(value)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
        else:
            yield start
            indent = "" if isinstance(value, list) else "  "
            yield from (f"{indent}{line}" for line in _lines(value))


def _scalar(value: object) -> str:
    is_word = isinstance(value, str) and re.fullmatch(r"[a-z][a-z0-9_-]*", value)
    if is_word and value not in _RESERVED:
        return str(value)
    written = json.dumps(value, ensure_ascii=False)
    if isinstance(value, float):  # YAML 1.1 reads 1e-05 as text
        return re.sub(r"^(-?\d+)e", r"\1.0e", written)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", written)
