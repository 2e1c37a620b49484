"""Published measures of disentanglement: whether each factor of the data has its own latent.

Continuous and categorical latents are measured together, on a finite pool of examples with known
factors. Settings are those of disentanglement_lib (Locatello et al. 2019). Factors that are
constant among the examples are left out of every mean.
"""

import warnings
from typing import Any

import numpy as np
from scipy import stats
from sklearn import ensemble, exceptions, linear_model, metrics, svm

from .assignment import cluster_hits
from .codes import Codes, contingency, latent_columns, ranks, split, varying
from .intervals import CONFIDENCE
from .sharing import chunks, shared_values, variances

__all__ = [
    "NAMES",
    "Codes",
    "beta_vae_score",
    "cluster_hits",
    "dci",
    "dci_of_importances",
    "factor_vae_score",
    "mig",
    "sap",
    "scores",
]

NAMES = (
    "mig",
    "sap",
    "factor_vae_score",
    "beta_vae_score",
    "dci_disentanglement",
    "dci_completeness",
    "dci_informativeness",
)
# 2**8 leaves suffice for 40 values; deeper trees also fit noise, which is not in the code.
TREES, DEPTH = 10, 8


def mig(
    codes: Codes, factors: np.ndarray, seed: int = 0, *, num_train: int = 10_000, bins: int = 20
) -> float:
    """Mutual information gap: the lead of the latent most informative about a factor over the next.

    0: two latents are equally informative about each factor; 1: one contains all the information,
    the others none. Mean over factors v of (I(best; v) - I(second; v)) / H(v) (Chen et al. 2018,
    eq. 6). Published settings: continuous latents in 20 bins of equal width, 10,000 examples; a
    factor with more values than bins cannot reach 1. A single latent is compared with a constant
    one.

    Args:
        codes: Codes of n examples.
        factors: int (n, f), their true factors.
        seed: Seed of the draw of examples.
        num_train: Number of examples drawn; all, if there are fewer.
        bins: Number of bins of a continuous latent.

    Example:
        codes = Codes(np.empty((4, 0)), np.array([[0], [0], [1], [1]]))
        mig(codes, np.array([[3], [3], [7], [7]]))  # 1.0
    """
    train, _ = split(len(codes), num_train, 0, np.random.default_rng(seed))
    factors = factors[train][:, varying(factors[train])]
    latents = [
        *(np.digitize(z, np.histogram_bin_edges(z, bins)[:-1]) for z in codes.continuous[train].T),
        *codes.discrete[train].T,
    ]
    # The mutual information of a factor with itself is its entropy.
    shares = [
        [_mutual_information(z, v) / _mutual_information(v, v) for v in factors.T] for z in latents
    ]
    return _gap(np.array([*shares, np.zeros(factors.shape[1])]))


def sap(
    codes: Codes,
    factors: np.ndarray,
    seed: int = 0,
    *,
    num_train: int = 10_000,
    num_test: int = 5_000,
) -> float:
    """Separated attribute predictability: how much better one latent predicts than any other.

    0: two latents predict each factor equally well; 1 cannot be reached, since a useless latent is
    sometimes right by chance. Mean over factors of the difference of the two best test accuracies
    of linear classifiers that see one latent each, a categorical one as one-hot columns (Kumar et
    al. 2018, section 3). Published settings: LinearSVC with C = 0.01 and balanced classes, on
    unscaled latents, so that their scale matters; 10,000 and 5,000 examples. The primal is solved,
    which has the same optimum and is faster. A single latent is compared with a constant one.

    Args:
        codes: Codes of n examples.
        factors: int (n, f), their true factors.
        seed: Seed of the draw of examples.
        num_train: Number of examples for the classifiers; reduced in proportion if there are fewer.
        num_test: Number of other examples, for the accuracies.

    Example:
        sap(Codes(means, np.empty((len(means), 0), int)), factors)
    """
    train, test = split(len(codes), num_train, num_test, np.random.default_rng(seed))
    factors = factors[:, varying(factors[train])]
    latents = latent_columns(codes)
    if len(latents) == 1:
        latents.append(np.zeros((len(codes), 1)))

    def accuracy(latent: np.ndarray, factor: np.ndarray) -> float:
        classifier = svm.LinearSVC(C=0.01, class_weight="balanced", dual=False)
        return _fit(classifier, latent[train], factor[train]).score(latent[test], factor[test])

    return _gap(np.array([[accuracy(z, v) for v in factors.T] for z in latents]))


def factor_vae_score(
    codes: Codes,
    factors: np.ndarray,
    seed: int = 0,
    *,
    num_train: int = 10_000,
    num_test: int = 5_000,
    batch_size: int = 64,
    variance_threshold: float = 0.05,
) -> float:
    """FactorVAE score: how often the latent that varies least indicates which factor was fixed.

    1: always; 1 / f is chance; 0 if all latents are pruned. A vote is a batch of examples that
    share one factor's value, cast for the latent with the least variance relative to that of all
    examples; a latent represents the factor with most of its votes (Kim & Mnih 2018, section 4).
    Published settings: batches of 64, 10,000 votes to assign latents and 5,000 to count, variances
    of 10,000 examples, latents with less than 0.05 pruned (the code of disentanglement_lib prunes
    standard deviations below 0.05). The variance of a categorical latent is its Gini impurity, the
    probability that two examples differ.

    A batch is drawn from the pool with replacement, among the examples that share the value of a
    random one; values with a single example are skipped.

    Args:
        codes: Codes of n examples.
        factors: int (n, f), their true factors.
        seed: Seed of the draw of batches.
        num_train: Number of votes to assign latents, and of examples for the variances.
        num_test: Number of votes to count.
        batch_size: Number of examples in a vote.
        variance_threshold: Minimum variance of a latent; others are pruned.

    Example:
        factor_vae_score(Codes(means, categories), factors)
    """
    random = np.random.default_rng(seed)
    some, _ = split(len(codes), num_train, 0, random)
    overall = variances(codes, some[np.newaxis])[0]
    kept = np.flatnonzero(overall >= variance_threshold)
    sharing = shared_values(factors)
    if not kept.size:
        return 0.0

    def votes(number: int) -> np.ndarray:
        table = np.zeros((len(sharing), kept.size), int)
        for i, size in chunks(number, len(sharing), batch_size * len(overall), random):
            local = variances(codes, sharing[i].batches(size, batch_size, random))
            stillest = (local[:, kept] / overall[kept]).argmin(axis=1)
            table[i] += np.bincount(stillest, minlength=kept.size)
        return table

    names, counted = votes(num_train).argmax(axis=0), votes(num_test)
    return float(counted[names, np.arange(kept.size)].sum() / counted.sum())


def beta_vae_score(
    codes: Codes,
    factors: np.ndarray,
    seed: int = 0,
    *,
    num_train: int = 10_000,
    num_test: int = 5_000,
    batch_size: int = 64,
) -> float:
    """BetaVAE score: how often a linear classifier recognizes which factor pairs of examples share.

    1: always, as for a single factor; 1 / f is chance. A point is the mean of |z1 - z2| over 64
    pairs that share one factor (Higgins et al. 2017, section 3), for a categorical latent the share
    of pairs that differ. Published settings: 10,000 points to fit scikit-learn's LogisticRegression
    and 5,000 to count.

    Pairs come from the pool: a random example and another one that shares its value; values with a
    single example are skipped.

    Args:
        codes: Codes of n examples.
        factors: int (n, f), their true factors.
        seed: Seed of the draw of pairs.
        num_train: Number of points to fit the classifier.
        num_test: Number of points to count.
        batch_size: Number of pairs in a point.

    Example:
        beta_vae_score(Codes(means, categories), factors)
    """
    random = np.random.default_rng(seed)
    sharing = shared_values(factors)
    if len(sharing) == 1:
        return 1.0
    width = codes.continuous.shape[1] + codes.discrete.shape[1]

    def points(number: int) -> tuple[np.ndarray, np.ndarray]:
        features, labels = [], []
        for i, size in chunks(number, len(sharing), 2 * batch_size * width, random):
            one, other = sharing[i].pairs((size, batch_size), random)
            differences = (
                np.abs(codes.continuous[one] - codes.continuous[other]).mean(axis=1),
                (codes.discrete[one] != codes.discrete[other]).mean(axis=1),
            )
            features.append(np.concatenate(differences, axis=1))
            labels.append(np.full(size, i))
        return np.concatenate(features), np.concatenate(labels)

    classifier = linear_model.LogisticRegression(max_iter=1000)
    return float(_fit(classifier, *points(num_train)).score(*points(num_test)))


def dci(
    codes: Codes,
    factors: np.ndarray,
    seed: int = 0,
    *,
    num_train: int = 10_000,
    num_test: int = 5_000,
) -> tuple[float, float, float]:
    """Disentanglement, completeness and informativeness, by forests that predict the factors.

    Disentanglement 1: each latent is important for one factor; completeness 1: each factor depends
    on one latent; informativeness 1: all factors are predicted. 0: all latents are equally
    important for all factors, or no test example is predicted correctly. See `dci_of_importances`
    for the first two (Eastwood & Williams 2018, section 2); the third is the mean test accuracy, as
    in disentanglement_lib, which uses 10,000 and 5,000 examples. Forests are random forests as in
    the paper: gradient boosting, as in disentanglement_lib, fits a tree per round and value of a
    factor, and takes minutes. Every split sees all latents, otherwise the forest would have to use
    useless ones. The importance of a categorical latent is the sum over its one-hot columns.

    Args:
        codes: Codes of n examples.
        factors: int (n, f), their true factors.
        seed: Seed of the draw of examples, and of the forests.
        num_train: Number of examples for the forests; reduced in proportion if there are fewer.
        num_test: Number of other examples, for the accuracies.

    Example:
        disentanglement, completeness, informativeness = dci(Codes(means, categories), factors)
    """
    train, test = split(len(codes), num_train, num_test, np.random.default_rng(seed))
    factors = factors[:, varying(factors[train])]
    latents = latent_columns(codes)
    features = np.concatenate(latents, axis=1)
    first_columns = np.cumsum([0, *(z.shape[1] for z in latents[:-1])])
    importances, accuracies = [], []
    for factor in factors.T:
        forest = ensemble.RandomForestClassifier(
            TREES,
            criterion="entropy",  # splits values in halves; Gini would split them off one by one
            max_depth=DEPTH,
            max_features=None,
            n_jobs=1,
            random_state=seed,
        )
        forest.fit(features[train], factor[train])
        importances.append(np.add.reduceat(forest.feature_importances_, first_columns))
        accuracies.append(forest.score(features[test], factor[test]))
    return *dci_of_importances(np.array(importances).T), float(np.mean(accuracies))


def dci_of_importances(importances: np.ndarray) -> tuple[float, float]:
    """Computes disentanglement and completeness from a matrix of importances.

    1 minus the entropy of each row, or column, relative to its maximum, weighted by the row's, or
    column's, share of the total importance (Eastwood & Williams 2018, section 2). With a single
    factor, or latent, it is 1.

    Args:
        importances: float (latents, factors), not negative.

    Example:
        dci_of_importances(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]))  # 1.0, 0.579
    """

    def concentration(matrix: np.ndarray) -> float:
        total = matrix.sum(axis=1)
        if matrix.shape[1] == 1 or not total.any():
            return float(total.any())
        matrix, total = matrix[total > 0], total[total > 0]
        spread = stats.entropy(matrix, axis=1) / np.log(matrix.shape[1])
        return float(np.average(1 - spread, weights=total))

    return concentration(importances), concentration(importances.T)


def scores(
    codes: Codes,
    factors: np.ndarray,
    *,
    seeds: int = 5,
    num_train: int = 10_000,
    num_test: int = 5_000,
    batch_size: int = 64,
) -> dict[str, dict[str, Any]]:
    """Computes every measure, as {"value", "low", "high", "n"}: mean over seeds, size of the pool.

    Each seed draws other examples, batches and pairs from the pool. The interval is Student's at
    95 % over the seeds, clipped to [0, 1]: it shows the precision of the measure on this pool and
    for this model, not the variation between training runs. MIG has no interval if all examples
    of the pool are used.

    Args:
        codes: Codes of n examples.
        factors: int (n, f), their true factors.
        seeds: Number of seeds, 2 or more.
        num_train: Argument of each measure.
        num_test: Argument of each measure except MIG.
        batch_size: Argument of `factor_vae_score` and `beta_vae_score`.

    Raises:
        ValueError: All factors are constant, or `seeds` is less than 2.

    Example:
        scores(Codes(means, categories), factors)["mig"]["value"]
    """
    if seeds < 2:
        raise ValueError(f"seeds={seeds}: expected at least 2, for an interval")
    sizes = {"num_train": num_train, "num_test": num_test}
    batches = {**sizes, "batch_size": batch_size}
    rows = [
        (
            mig(codes, factors, seed, num_train=num_train),
            sap(codes, factors, seed, **sizes),
            factor_vae_score(codes, factors, seed, **batches),
            beta_vae_score(codes, factors, seed, **batches),
            *dci(codes, factors, seed, **sizes),
        )
        for seed in range(seeds)
    ]
    result = {
        name: {**_interval(np.array(values)), "n": len(codes)}
        for name, values in zip(NAMES, zip(*rows, strict=True), strict=True)
    }
    if len(codes) <= num_train:  # every draw contains all examples
        result["mig"] |= {"low": None, "high": None}
    return result


def _mutual_information(first: np.ndarray, second: np.ndarray) -> float:
    """Computes the mutual information of two lists of integers, in nats."""
    joint = contingency(ranks(first), ranks(second))
    return metrics.mutual_info_score(None, None, contingency=joint)


def _gap(goodness: np.ndarray) -> float:
    """Averages best minus second best over the factors, from (latents, factors)."""
    second, best = np.sort(goodness, axis=0)[-2:]
    return float(np.mean(best - second))


def _fit(
    classifier: svm.LinearSVC | linear_model.LogisticRegression,
    points: np.ndarray,
    labels: np.ndarray,
) -> svm.LinearSVC | linear_model.LogisticRegression:
    """Fits without convergence warnings: the papers also used fits not quite at their optimum."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
        return classifier.fit(points, labels)


def _interval(values: np.ndarray) -> dict[str, Any]:
    """Computes a mean with Student's interval, within [0, 1]."""
    n = len(values)
    half = stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1) * values.std(ddof=1) / np.sqrt(n)
    low, high = np.clip([values.mean() - half, values.mean() + half], 0.0, 1.0)
    return {"value": float(values.mean()), "low": float(low), "high": float(high)}
