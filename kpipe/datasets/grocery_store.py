"""Grocery Store: 5,421 photographs in 81 fine and 43 coarse classes (Klasson et al., 2019)."""

import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .. import files
from ..errors import UserError
from .base import Dataset, Source, from_arrays
from .own.image_files import open_image, read_image
from .samples import produce

if TYPE_CHECKING:
    import tensorflow as tf

    from .builders import GroceryStore

# SHA-256 of the published lists; the repository has none for the photographs.
LISTS = {
    "train.txt": "b6d6a4d25fc2a7604f4bbd4e8010516f3bb643f727fc60ef5fca042edd01294f",
    "val.txt": "a2a2bdf8ce34196c1a1dd554bd67e780793aab9363dd40d6cf50fe2d168a78b6",
    "test.txt": "9a464934780665c0024db405571c0dd2d149488a245f476557de7f1c31cf8a93",
}
MANUAL_FOLDER = "grocery_store/dataset"  # below the data folder's downloads/manual
REPOSITORY = "https://github.com/marcusklasson/GroceryStoreDataset"
# Pixels. A smaller photograph counts as a reduced copy; the repository states no size.
SHORTEST_SIDE = 348
SAMPLE_EXAMPLES = {"train": 1200, "val": 300, "test": 600}


def grocery_store(labels: str = "fine", image_size: int = 64) -> Dataset:
    """Groceries as uint8 (image_size, image_size, 3) images with a fine or a coarse label.

    The central square of the photograph is resized. Official splits. Real data are a clone of the
    published repository as the data folder's `downloads/manual/grocery_store`. The sample is 2,100
    drawn pictures with the same classes.

    Args:
        labels: "fine", 81 classes, or "coarse", 43.
        image_size: Pixels on a side.

    Raises:
        ValueError: `labels` is neither.

    Example:
        len(datasets.grocery_store("coarse").label_names)  # 43
    """
    if labels not in ("fine", "coarse"):
        raise ValueError(f"labels={labels!r}: expected 'fine' or 'coarse'")
    return Dataset(
        name="grocery_store",
        version="1.0.0",
        input_shape=(image_size, image_size, 3),
        label_names=produce.FINE if labels == "fine" else produce.COARSE,
        official_examples={"train": 2640, "val": 296, "test": 2485},
        official_download_size=0,
        host="github.com",
        make_sample=lambda: _drawn_produce(image_size),
        tfds_splits={"train": "train", "val": "validation", "test": "test"},
        label=_stack_labels,
        select_label=lambda both: both[:, ("fine", "coarse").index(labels)],
        make_builder=_builder,
        manual_files=tuple(f"{MANUAL_FOLDER}/{name}" for name in LISTS),
        manual_help=(
            f"git clone {REPOSITORY} DIR/downloads/manual/grocery_store and pass --data-dir DIR"
        ),
    )


def _stack_labels(example: Mapping[str, "tf.Tensor"]) -> "tf.Tensor":
    import tensorflow as tf

    return tf.stack([example["label"], example["coarse_label"]])


def _drawn_produce(image_size: int) -> Source:
    return Source(
        kind="sample",
        description="2,100 pictures of produce drawn by kpipe, no photographs",
        identity=files.sha256(pathlib.Path(produce.__file__)),  # other code, other pictures
        examples=SAMPLE_EXAMPLES,
        official=False,
        read=lambda split: _read_drawn_produce(split, image_size),
    )


def _read_drawn_produce(split: str, image_size: int) -> "tf.data.Dataset":
    import numpy as np

    seed = list(SAMPLE_EXAMPLES).index(split)
    images, fine = produce.paint(SAMPLE_EXAMPLES[split], seed, image_size)
    coarse = np.array(produce.COARSE_OF_FINE)[fine]
    return from_arrays(f"drawn produce {split}", images, np.stack([fine, coarse], axis=1))


def _builder(data_dir: pathlib.Path, manual: pathlib.Path) -> "GroceryStore":
    from .builders import GroceryStore  # imports TFDS

    folder = manual / MANUAL_FOLDER
    return GroceryStore(folder, official=_is_official(folder), data_dir=data_dir)


def _is_official(folder: pathlib.Path) -> bool:
    if any(files.sha256(folder / name) != digest for name, digest in LISTS.items()):
        return False
    first = (folder / "train.txt").read_text(encoding="utf-8").split(",", 1)[0]
    try:
        with open_image(read_image(folder / first)) as image:
            return min(image.size) >= SHORTEST_SIDE
    except Exception as error:  # Pillow raises errors of many types for damaged files
        raise UserError(
            f"{folder / first}: cannot be read as an image ({type(error).__name__}); "
            f"clone {REPOSITORY} again"
        ) from None
