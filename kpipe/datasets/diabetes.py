"""Diabetes progression: ten measurements of a patient, and disease progression a year later."""

import hashlib

from .base import Dataset, Source, from_arrays

SIZES = {"train": 353, "test": 89}
TEST_FRACTION, SPLIT_SEED = 0.2, 0
FEATURES = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")
# Mean and standard deviation of each feature in the 353 training rows, to seven digits.
MEANS = (
    *(48.74788, 1.487252, 26.31133, 94.4551),
    *(188.7734, 114.8751, 49.72946, 4.081756, 4.641744, 91.2153),
)
DEVIATIONS = (
    *(13.33047, 0.4998375, 4.535586, 13.66519),
    *(34.23969, 30.07176, 12.81823, 1.302185, 0.5373495, 11.91229),
)


def diabetes(val_fraction: float = 0.2) -> Dataset:
    """Diabetes patients (Efron et al., 2004): float32 (10,) measurements, one float32 value each.

    The 442 rows that ship with scikit-learn, in their own units: age in years, sex (1 or 2), body
    mass index in kg/m², mean blood pressure, six serum measurements. The value, from 25 to 346, is
    a unitless measure of disease progression one year later. The data have no official split: the
    test split is the 89 rows of scikit-learn's `train_test_split` with test_size=0.2 and
    random_state=0, whatever the run's seed.

    Nothing is standardized here: scikit-learn's `scaled=True` uses the deviations of all rows,
    including test. `MEANS` and `DEVIATIONS` are those of the training rows, whichever of them are
    val; a network uses them as constants (`models.mlp(normalize=)`), so that the exported model
    takes measurements in their own units, and a prediction never depends on the other patients of
    its batch.

    Args:
        val_fraction: Share of the 353 training rows that becomes val, by the run's seed.

    Example:
        datasets.diabetes().find().examples  # {"train": 353, "test": 89}
    """
    import numpy as np
    from sklearn.datasets import load_diabetes  # takes a second to import
    from sklearn.model_selection import train_test_split

    inputs, values = load_diabetes(return_X_y=True, scaled=False)
    inputs, values = inputs.astype(np.float32), values.astype(np.float32)
    rows = train_test_split(
        np.arange(len(values)), test_size=TEST_FRACTION, random_state=SPLIT_SEED
    )
    splits = {
        name: (inputs[part], values[part])
        for name, part in zip(SIZES, map(np.sort, rows), strict=True)
    }
    content = b"".join(array.tobytes() for arrays in splits.values() for array in arrays)
    source = Source(
        kind="real",
        description="442 diabetes patients (Efron et al., 2004), from scikit-learn",
        identity=hashlib.sha256(content).hexdigest(),
        examples={name: len(labels) for name, (_, labels) in splits.items()},
        official=True,
        read=lambda split: from_arrays(f"diabetes {split}", *splits[split]),
    )
    return Dataset(
        name="diabetes",
        version="1.0.0",
        input_shape=(len(FEATURES),),
        label_names=("disease progression",),
        official_examples=SIZES,
        fixed=source,
        val_fraction=val_fraction,
    )
