"""Any TFDS dataset that has an image or a text, and a class."""

import functools
import os
import pathlib
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import UserError, first_line, nearest
from .base import Dataset
from .prepared import default_data_dir, version_key
from .vectorization import Vectorization

if TYPE_CHECKING:
    import tensorflow as tf


# Texts that name an example.
_NAME = re.compile(r"(^|[_/])(file_?name|id|url|path)$")


class _Features(NamedTuple):
    """What an example of a dataset contains, by name of the feature.

    Attributes:
        config: Name of the configuration; "" if the dataset has none.
        images: Shape of each image.
        texts: Names of the texts, sorted.
        classes: Names of the classes of each label.
    """

    config: str
    images: dict[str, tuple[int | None, ...]]
    texts: tuple[str, ...]
    classes: dict[str, tuple[str, ...]]


def from_tfds(
    name: str,
    *,
    config: str = "",
    image_size: int = 64,
    label: str = "label",
    val_fraction: float = 0.1,
    vocabulary_size: int = 20_000,
    max_length: int = 256,
    embeddings: str = "",
    data_dir: str | os.PathLike[str] | None = None,
) -> Dataset:
    """A dataset of the TFDS catalogue, with one image or with texts, and a class.

    Its validation and test splits are used; without test, validation is test; with neither, test is
    the last fifth of train. Several texts of an example are joined by a space, in the order of
    their names. Nothing is downloaded before the data are needed, with --data real.

    Args:
        name: The TFDS name, "eurosat", or with the configuration, "eurosat/rgb".
        config: The configuration; by default that of TFDS.
        image_size: Height and width of the prepared images.
        label: Name of the feature that is the class; where it does not exist, the only class.
        val_fraction: Share of train that becomes val, if there is no validation split.
        vocabulary_size: See `Vectorization`, also for the next two.
        max_length: Maximum number of tokens of a text.
        embeddings: Path to word vectors.
        data_dir: Folder of the TFDS datasets in which a dataset outside the catalogue is; by
            default `default_data_dir()`.

    Raises:
        UserError: There is no such dataset, or it has no image, text or class.

    Example:
        datasets.from_tfds("eurosat/rgb", image_size=64)
    """
    name, _, after = name.partition("/")
    folder = default_data_dir() if data_dir is None else pathlib.Path(data_dir).expanduser()
    features = _features(name, config or after, folder)
    if label not in features.classes:
        if label != "label" or len(features.classes) != 1:
            known = ", ".join(sorted(features.classes)) or "none"
            raise UserError(
                f"{name}: no class {label!r}; expected a dataset with a ClassLabel; it has {known}"
            )
        (label,) = features.classes
    shared: dict[str, Any] = {
        "name": name,
        "config": features.config,
        "label_names": features.classes[label],
        "host": "storage.googleapis.com",
        "manual_help": "prepare it with TFDS where there is a network, and give --data-dir",
        "label": lambda example: example[label],
        "task": "classification",
        "val_fraction": val_fraction,
    }
    if len(features.images) == 1:
        ((image, shape),) = features.images.items()
        channels = 3 if len(shape) < 3 or shape[-1] is None else shape[-1]
        return Dataset(
            input_shape=(image_size, image_size, channels),
            input=lambda example: example[image],
            features=(image, label),
            **shared,
        )
    if features.images or not features.texts:
        raise UserError(
            f"{name}: its examples have {len(features.images)} images and {len(features.texts)} "
            "texts; expected one image, or texts"
        )
    texts = features.texts

    def join(example: Any) -> "tf.Tensor":
        import tensorflow as tf

        return tf.strings.join([example[text] for text in texts], " ")

    return Dataset(
        input_shape=(),
        input=join,
        features=(*texts, label),
        vectorization=Vectorization(vocabulary_size, max_length, embeddings),
        **shared,
    )


@functools.lru_cache(maxsize=32)
def _features(name: str, config: str, folder: pathlib.Path) -> _Features:
    """Reads what is prepared in the folder, or else TFDS' code; neither needs the network."""
    import tensorflow_datasets as tfds

    infos = sorted((folder / name / config).glob("*/dataset_info.json"), key=version_key)
    if not infos and not config:  # a configuration that is prepared alone
        infos = sorted((folder / name).glob("*/*/dataset_info.json"), key=version_key)
        infos = infos if len({info.parents[1] for info in infos}) == 1 else []
    try:
        if infos:
            builder = tfds.builder_from_directory(infos[-1].parent)
            parent = infos[-1].parents[1]
            config = "" if parent == folder / name else parent.name
        else:
            builder = tfds.builder(f"{name}/{config}".rstrip("/"), data_dir=folder)
            config = builder.builder_config.name if builder.builder_config else ""
    except tfds.core.registered.DatasetNotFoundError:
        known = tfds.list_builders(with_community_datasets=False)
        raise UserError(
            f"{name}: no dataset of TFDS; {nearest(name, known, [f'{len(known):,} names'])}"
        ) from None
    except Exception as error:  # TFDS passes on errors of many types
        raise UserError(f"{name}: TFDS cannot open it: {first_line(error)}") from None
    features = dict(builder.info.features or {})
    of = tfds.features
    return _Features(
        config=config,
        images={key: value.shape for key, value in features.items() if type(value) is of.Image},
        texts=tuple(
            sorted(
                key
                for key, value in features.items()
                if type(value) is of.Text and not _NAME.search(key)
            )
        ),
        classes={
            key: tuple(value.names)
            for key, value in features.items()
            if isinstance(value, of.ClassLabel)
        },
    )
