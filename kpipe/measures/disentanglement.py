"""Disentanglement: whether each factor of the data has a latent of its own, by published measures.

Continuous and categorical latents are judged side by side, on a finite pool of examples with known
factors. The settings are those of disentanglement_lib (Locatello et al. 2019). A factor that does
not vary among the examples at hand is left out of every mean.
"""

import dataclasses
import warnings
from collections.abc import Iterator

import numpy as np
from scipy import optimize, stats
from sklearn import ensemble, exceptions, linear_model, metrics, svm

CONFIDENCE = 0.95
NAMES = (
    "mig",
    "sap",
    "factor_vae_score",
    "beta_vae_score",
    "dci_disentanglement",
    "dci_completeness",
    "dci_informativeness",
)
# 2**8 leaves hold 40 values well; deeper trees also fit noise, whose importance is not the code's.
TREES, DEPTH = 10, 8
CHUNK = 4_000_000  # values drawn at a time: 32 MB, and as much again for their variance


@dataclasses.dataclass(frozen=True)
class Codes:
    """What a model says of a pool of examples.

    Attributes:
        continuous: float (n, d), means of the continuous latents; d may be 0.
        discrete: int (n, l), values of the categorical latents; l may be 0.

    Raises:
        ValueError: The shapes do not fit each other, or there is no latent.
    """

    continuous: np.ndarray
    discrete: np.ndarray

    def __post_init__(self):
        shapes = self.continuous.shape, self.discrete.shape
        if any(len(shape) != 2 for shape in shapes) or shapes[0][0] != shapes[1][0]:
            raise ValueError(f"codes need the shapes (n, d) and (n, l), not {shapes}")
        if not shapes[0][1] + shapes[1][1]:
            raise ValueError("codes need at least one latent")

    def __len__(self):
        return len(self.continuous)


def mig(
    codes: Codes, factors: np.ndarray, seed: int = 0, *, num_train: int = 10_000, bins: int = 20
) -> float:
    """Mutual information gap: how much more one latent knows of a factor than any other one does.

    0: two latents know the same of each factor; 1: one knows it all, the others nothing. Mean over
    factors v of (I(best; v) - I(second; v)) / H(v) (Chen et al. 2018, eq. 6). Published: continuous
    latents in 20 bins of equal width, 10,000 examples; more values than bins cannot reach 1. A
    single latent is compared with a constant one.

    Args:
        codes: Of n examples.
        factors: int (n, f), their true factors.
        seed: Draws the examples.
        num_train: Examples that are drawn; all, if there are fewer.
        bins: For a continuous latent.

    Example:
        mig(Codes(np.empty((4, 0)), np.array([[0], [0], [1], [1]])), np.array([[3], [3], [7], [7]]))
        # 1.0
    """
    train, _ = _split(len(codes), num_train, 0, np.random.default_rng(seed))
    factors = factors[train][:, _varying(factors[train])]
    latents = [
        *(np.digitize(z, np.histogram_bin_edges(z, bins)[:-1]) for z in codes.continuous[train].T),
        *codes.discrete[train].T,
    ]
    # What a factor knows of itself is its entropy.
    known = [
        [_mutual_information(z, v) / _mutual_information(v, v) for v in factors.T] for z in latents
    ]
    return _gap(np.array([*known, np.zeros(factors.shape[1])]))


def sap(
    codes: Codes,
    factors: np.ndarray,
    seed: int = 0,
    *,
    num_train: int = 10_000,
    num_test: int = 5_000,
) -> float:
    """Separated attribute predictability: how much better one latent predicts than any other one.

    0: two latents predict each factor equally well; 1 is out of reach, since a useless latent is
    right by chance. Mean over factors of the difference of the two best test accuracies of linear
    classifiers that see one latent each, a categorical one as one-hot columns (Kumar et al. 2018,
    section 3). Published: LinearSVC with C = 0.01 and balanced classes, on latents as they are, so
    that their scale matters; 10,000 and 5,000 examples. It is solved in the primal, which has the
    same optimum and is quicker. A single latent is compared with a constant one.

    Args:
        codes: Of n examples.
        factors: int (n, f), their true factors.
        seed: Draws the examples.
        num_train: Examples for the classifiers; their share of all, if there are fewer.
        num_test: Other examples, for the accuracies.

    Example:
        sap(Codes(means, np.empty((len(means), 0), int)), factors)
    """
    train, test = _split(len(codes), num_train, num_test, np.random.default_rng(seed))
    factors = factors[:, _varying(factors[train])]
    latents = _features(codes)
    if len(latents) == 1:
        latents.append(np.zeros((len(codes), 1)))

    def accuracy(latent, factor):
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
    least_variance: float = 0.05,
) -> float:
    """FactorVAE score: how often the latent that hardly varies tells which factor was fixed.

    1: always; 1 / f is chance; 0 if all latents are pruned. A vote is a batch of examples that
    share one factor's value, cast for the latent with the least variance relative to that of all
    examples; a latent stands for the factor with most of its votes (Kim & Mnih 2018, section 4).
    Published: batches of 64, 10,000 votes to name the latents and 5,000 to count, variances of
    10,000 examples, latents with less than 0.05 pruned (the code of disentanglement_lib prunes
    standard deviations under 0.05). The variance of a categorical latent is its Gini impurity, the
    chance that two examples differ.

    A batch is drawn from the pool with replacement, among the examples that share the value of a
    random one; values with a single example are skipped.

    Args:
        codes: Of n examples.
        factors: int (n, f), their true factors.
        seed: Draws the batches.
        num_train: Votes to name the latents, and examples for the variances.
        num_test: Votes to count.
        batch_size: Examples in a vote.
        least_variance: Of a latent that is not pruned.

    Example:
        factor_vae_score(Codes(means, categories), factors)
    """
    random = np.random.default_rng(seed)
    some, _ = _split(len(codes), num_train, 0, random)
    variances = _variances(codes, some[np.newaxis])[0]
    kept = np.flatnonzero(variances >= least_variance)
    sharing = _sharing(factors)
    if not kept.size:
        return 0.0

    def votes(number):
        table = np.zeros((len(sharing), kept.size), int)
        for i, size in _chunks(number, len(sharing), batch_size * len(variances), random):
            local = _variances(codes, sharing[i].batches(size, batch_size, random))
            stillest = (local[:, kept] / variances[kept]).argmin(axis=1)
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
    """BetaVAE score: how often a linear classifier tells which factor pairs of examples share.

    1: always, as it is for a single factor; 1 / f is chance. A point is the mean of |z1 - z2| over
    64 pairs that share one factor (Higgins et al. 2017, section 3), for a categorical latent the
    share of pairs that differ. Published: 10,000 points to fit scikit-learn's LogisticRegression
    and 5,000 to count.

    Pairs come from the pool: a random example and another one that shares its value; values with a
    single example are skipped.

    Args:
        codes: Of n examples.
        factors: int (n, f), their true factors.
        seed: Draws the pairs.
        num_train: Points to fit the classifier.
        num_test: Points to count.
        batch_size: Pairs in a point.

    Example:
        beta_vae_score(Codes(means, categories), factors)
    """
    random = np.random.default_rng(seed)
    sharing = _sharing(factors)
    if len(sharing) == 1:
        return 1.0
    width = codes.continuous.shape[1] + codes.discrete.shape[1]

    def points(number):
        features, labels = [], []
        for i, size in _chunks(number, len(sharing), 2 * batch_size * width, random):
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

    Disentanglement 1: each latent serves one factor; completeness 1: each factor is served by one
    latent; informativeness 1: all factors are predicted. 0: all serve all alike, or no test example
    is right. See `dci_of_importances` for the first two (Eastwood & Williams 2018, section 2); the
    third is the mean test accuracy, as in disentanglement_lib, which takes 10,000 and 5,000
    examples. Random forests as in the paper: gradient boosting, as in disentanglement_lib, fits a
    tree per value of a factor and round, and takes minutes. Every split sees all latents, else the
    forest would have to use useless ones. A categorical latent has the sum of its one-hot columns.

    Args:
        codes: Of n examples.
        factors: int (n, f), their true factors.
        seed: Draws the examples, and seeds the forests.
        num_train: Examples for the forests; their share of all, if there are fewer.
        num_test: Other examples, for the accuracies.

    Example:
        disentanglement, completeness, informativeness = dci(Codes(means, categories), factors)
    """
    train, test = _split(len(codes), num_train, num_test, np.random.default_rng(seed))
    factors = factors[:, _varying(factors[train])]
    latents = _features(codes)
    features = np.concatenate(latents, axis=1)
    first_columns = np.cumsum([0, *(z.shape[1] for z in latents[:-1])])
    importances, accuracies = [], []
    for factor in factors.T:
        forest = ensemble.RandomForestClassifier(
            TREES,
            criterion="entropy",  # halves the values, where Gini's would peel them off one by one
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
    """Disentanglement and completeness of a matrix of importances.

    1 minus the entropy of each row, or column, in units of the largest possible one, weighted by
    the row's, or column's, share of all importance (Eastwood & Williams 2018, section 2). With one
    factor, or one latent, there is nothing to mix up: 1.

    Args:
        importances: float (latents, factors), not negative.

    Example:
        dci_of_importances(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]))  # 1.0, 0.579
    """

    def concentration(matrix):
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
) -> dict[str, dict]:
    """Every measure as {"value", "low", "high", "n"}: mean over seeds, n examples in the pool.

    Each seed draws other examples, batches and pairs from the pool. The interval is Student's at
    95 % over the seeds, clipped to [0, 1]: it tells how exact the measure is on this pool and for
    this model, not how another training of the model would do. MIG has none where all examples of
    the pool are taken.

    Args:
        codes: Of n examples.
        factors: int (n, f), their true factors.
        seeds: Their number, 2 or more.
        num_train: See each measure.
        num_test: See each measure.
        batch_size: See `factor_vae_score` and `beta_vae_score`.

    Raises:
        ValueError: No factor varies, or there are fewer seeds.

    Example:
        scores(Codes(means, categories), factors)["mig"]["value"]
    """
    if seeds < 2:
        raise ValueError("an interval over seeds needs 2 of them or more")
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
    if len(codes) <= num_train:  # every draw took all examples
        result["mig"] |= {"low": None, "high": None}
    return result


def assignment_hits(
    clusters: np.ndarray,
    labels: np.ndarray,
    *,
    fit_clusters: np.ndarray | None = None,
    fit_labels: np.ndarray | None = None,
    one_to_one: bool = False,
) -> np.ndarray:
    """Whether each example has the class that its categorical latents were named after.

    Their mean is the unsupervised accuracy of JointVAE (Dupont 2018, section 4): a value is named
    after the class most frequent among the fit examples that have it, and several latents count as
    one whose values are their tuples. A value that no fit example has is always wrong.

    Args:
        clusters: int (n,) or (n, l), values of the categorical latents.
        labels: int (n,), the true classes.
        fit_clusters: int (m,) or (m, l), of other examples, which name the values; without them
            the examples name their own, which flatters.
        fit_labels: int (m,), the true classes of those.
        one_to_one: Whether a class names one value at most, by the matching that is right most
            often (Hungarian method); values without a class are wrong.

    Returns:
        bool (n,).

    Example:
        assignment_hits(np.array([5, 5, 5, 2]), np.array([0, 0, 1, 1]))  # True, True, False, True
    """
    if fit_clusters is None or fit_labels is None:
        fit_clusters, fit_labels = clusters, labels
    rows = [np.reshape(values, (len(values), -1)) for values in (fit_clusters, clusters)]
    values = np.unique(np.concatenate(rows), axis=0, return_inverse=True)[1].reshape(-1)
    fit_values, values = values[: len(rows[0])], values[len(rows[0]) :]
    seen, fit_values = np.unique(fit_values, return_inverse=True)
    classes, fit_labels = np.unique(fit_labels, return_inverse=True)
    counts = _contingency(fit_values, fit_labels)
    if one_to_one:
        named, chosen = optimize.linear_sum_assignment(counts, maximize=True)
        seen, names = seen[named], classes[chosen]
    else:
        names = classes[counts.argmax(axis=1)]
    right = (values[:, np.newaxis] == seen) & (labels[:, np.newaxis] == names)
    return right.any(axis=1)


@dataclasses.dataclass(frozen=True)
class _Sharing:
    """Examples by the value of one factor, only those whose value another example has too.

    Attributes:
        examples: int (m,), sorted by value.
        first: int (m,), of each, where its value begins.
        count: int (m,), of each, how many have its value.
    """

    examples: np.ndarray
    first: np.ndarray
    count: np.ndarray

    def batches(self, number: int, size: int, random: np.random.Generator) -> np.ndarray:
        """Examples (number, size): a row shares one value, that of a random example."""
        at = random.integers(len(self.examples), size=(number, 1))
        return self.examples[self.first[at] + random.integers(self.count[at], size=(number, size))]

    def pairs(
        self, shape: tuple[int, int], random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Random examples, and another one with the same value for each."""
        at = random.integers(len(self.examples), size=shape)
        first, count = self.first[at], self.count[at]
        other = first + (at - first + random.integers(1, count)) % count
        return self.examples[at], self.examples[other]


def _sharing(factors: np.ndarray) -> list[_Sharing]:
    """One for each factor of which two values or more are shared by examples."""
    result = []
    for factor in factors.T:
        ranks = _ranks(factor)
        examples = np.argsort(ranks, kind="stable")
        count = np.bincount(ranks)[ranks[examples]]
        examples, count = examples[count > 1], count[count > 1]
        first = np.searchsorted(ranks[examples], ranks[examples])
        if first.any():
            result.append(_Sharing(examples, first, count))
    if not result:
        raise ValueError("no factor has two values with two examples each; nothing can be judged")
    return result


def _chunks(
    number: int, num_factors: int, values_each: int, random: np.random.Generator
) -> Iterator[tuple[int, int]]:
    """Spreads draws over random factors: a factor and how many of its draws fit into memory."""
    largest = max(1, CHUNK // values_each)
    for i, left in enumerate(random.multinomial(number, np.full(num_factors, 1 / num_factors))):
        for start in range(0, left, largest):
            yield i, min(largest, left - start)


def _variances(codes: Codes, batches: np.ndarray) -> np.ndarray:
    """Unbiased variance, or Gini impurity, of each latent in each batch, (batches, latents)."""
    number, size = batches.shape
    columns = [codes.continuous[batches].var(axis=1, ddof=1)]
    for latent in codes.discrete.T:
        ranks = _ranks(latent)
        rows = np.repeat(np.arange(number), size)
        shares = _contingency(rows, ranks[batches].reshape(-1), ranks.max() + 1) / size
        impurity = (1 - np.sum(shares**2, axis=1)) * size / (size - 1)
        columns.append(impurity[:, np.newaxis])
    return np.concatenate(columns, axis=1)


def _split(
    n: int, num_train: int, num_test: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Random examples for two purposes, in the wanted proportion if there are too few."""
    if n < num_train + num_test:
        num_train, num_test = n * num_train // (num_train + num_test), n
    order = random.permutation(n)
    return order[:num_train], order[num_train : num_train + num_test]


def _varying(factors: np.ndarray) -> np.ndarray:
    """The columns that are not constant."""
    columns = np.flatnonzero((factors != factors[:1]).any(axis=0))
    if not columns.size:
        raise ValueError("no factor varies in the examples; nothing can be judged")
    return columns


def _features(codes: Codes) -> list[np.ndarray]:
    """Each latent's columns, (n, 1), or (n, values) of a categorical one."""
    one_hot = [latent[:, np.newaxis] == np.unique(latent) for latent in codes.discrete.T]
    return [*codes.continuous.T[:, :, np.newaxis], *(columns.astype(float) for columns in one_hot)]


def _gap(goodness: np.ndarray) -> float:
    """Mean over factors of best minus second best, of (latents, factors)."""
    second, best = np.sort(goodness, axis=0)[-2:]
    return float(np.mean(best - second))


def _fit(
    classifier: svm.LinearSVC | linear_model.LogisticRegression,
    points: np.ndarray,
    labels: np.ndarray,
) -> svm.LinearSVC | linear_model.LogisticRegression:
    """Fits; a fit that is not quite at its optimum is one that the papers used as it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
        return classifier.fit(points, labels)


def _interval(values: np.ndarray) -> dict:
    """A mean with Student's interval, within [0, 1]."""
    n = len(values)
    half = stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1) * values.std(ddof=1) / np.sqrt(n)
    low, high = np.clip([values.mean() - half, values.mean() + half], 0.0, 1.0)
    return {"value": float(values.mean()), "low": float(low), "high": float(high)}


def _ranks(values: np.ndarray) -> np.ndarray:
    """The values as 0, 1, 2 ..., in their order."""
    return np.unique(values, return_inverse=True)[1]


def _mutual_information(first: np.ndarray, second: np.ndarray) -> float:
    """Of two lists of integers, in nats."""
    joint = _contingency(_ranks(first), _ranks(second))
    return metrics.mutual_info_score(None, None, contingency=joint)


def _contingency(rows: np.ndarray, columns: np.ndarray, width: int | None = None) -> np.ndarray:
    """How many examples are in each row and column, of two lists that count from 0."""
    width = width or columns.max() + 1
    cells = np.bincount(rows * width + columns, minlength=(rows.max() + 1) * width)
    return cells.reshape(-1, width)
