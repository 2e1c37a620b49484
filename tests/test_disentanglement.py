import numpy as np
import pytest
from scipy import stats
from sklearn import linear_model, svm
from sklearn import metrics as sklearn_metrics

from kpipe.measures import codes as codes_module
from kpipe.measures import disentanglement
from kpipe.measures import sharing as sharing_module
from kpipe.measures.disentanglement import Codes

SIZES = {"num_train": 2000, "num_test": 1000}
COUNTS = (3, 6, 10)  # values of the factors
MEASURES = ("mig", "sap", "factor_vae_score", "beta_vae_score", "dci")


def measure(name, codes, factors, seed=0):
    sizes = SIZES if name != "mig" else {"num_train": 3000}
    return getattr(disentanglement, name)(codes, factors, seed, **sizes)


def continuous(values):
    return Codes(np.asarray(values, float), np.empty((len(values), 0), int))


def discrete(values):
    return Codes(np.empty((len(values), 0)), np.asarray(values))


@pytest.fixture(scope="module")
def factors():
    random = np.random.default_rng(0)
    return np.stack([random.integers(count, size=3000) for count in COUNTS], axis=1)


@pytest.fixture(scope="module")
def perfect(factors):
    """The factors in another order and scale, with noise of their own and two useless latents."""
    random = np.random.default_rng(1)
    latents = (factors - factors.mean(axis=0)) / factors.std(axis=0) * [2.0, -3.0, 4.0]
    useless = random.normal(size=(len(factors), 2))
    return continuous(np.concatenate([useless[:, :1], latents[:, ::-1], useless[:, 1:]], axis=1))


@pytest.fixture(scope="module")
def useless():
    random = np.random.default_rng(2)
    return Codes(random.normal(size=(3000, 4)), random.integers(3, size=(3000, 1)))


@pytest.fixture(scope="module")
def entangled():
    """Two factors of ten values, as they are and turned by 45 degrees."""
    factors = np.random.default_rng(3).integers(10, size=(3000, 2))
    centred = factors - 4.5
    turned = centred @ np.array([[1.0, -1.0], [1.0, 1.0]]) / np.sqrt(2)
    return factors, continuous(centred), continuous(turned)


def test_mutual_information_and_entropy_by_hand():
    first, second = np.array([0, 0, 5, 5]), np.array([1, 1, 1, -2])
    # joint 1/2, 1/4, 1/4; margins 1/2, 1/2 and 3/4, 1/4
    by_hand = 0.5 * np.log(4 / 3) + 0.25 * np.log(2 / 3) + 0.25 * np.log(2)
    assert disentanglement._mutual_information(first, second) == pytest.approx(by_hand)
    # The information of a list about itself is its entropy.
    assert disentanglement._mutual_information(first, first) == pytest.approx(np.log(2))
    itself = disentanglement._mutual_information(second, second)
    assert itself == pytest.approx(2 * np.log(2) - 0.75 * np.log(3))


def test_mutual_information_agrees_with_scikit_learn():
    random = np.random.default_rng(4)
    for _ in range(10):
        first = random.integers(-3, 7, size=200)
        second = first // 2 + random.integers(4, size=200)
        expected = sklearn_metrics.mutual_info_score(first, second)
        assert disentanglement._mutual_information(first, second) == pytest.approx(expected)


def test_a_perfect_code_has_the_highest_scores(factors, perfect):
    assert measure("mig", perfect, factors) == pytest.approx(1.0, abs=0.01)
    assert measure("sap", perfect, factors) > 0.2
    assert measure("factor_vae_score", perfect, factors) == 1.0
    assert measure("beta_vae_score", perfect, factors) > 0.99
    assert measure("dci", perfect, factors) == pytest.approx((1.0, 1.0, 1.0), abs=0.01)


def test_a_perfect_categorical_code_has_the_highest_scores(factors):
    codes = discrete(7 - 2 * factors[:, ::-1])
    assert measure("mig", codes, factors) > 0.99
    assert measure("sap", codes, factors) > 0.5
    assert measure("factor_vae_score", codes, factors) == 1.0
    assert measure("beta_vae_score", codes, factors) > 0.99
    assert measure("dci", codes, factors) == pytest.approx((1.0, 1.0, 1.0), abs=0.01)


def test_the_gap_of_exact_categorical_codes_is_one():
    factors = np.stack(np.meshgrid(range(3), range(6), indexing="ij"), axis=-1).reshape(-1, 2)
    assert disentanglement.mig(discrete(factors), factors) == pytest.approx(1.0)
    assert disentanglement.mig(continuous(factors), factors) == pytest.approx(1.0)


def test_the_gap_is_of_the_two_best_latents_relative_to_the_entropy():
    factor = np.repeat([0, 1], 8)
    half = np.where(np.arange(16) % 8 < 4, factor, 2)  # knows half of the examples
    quarter = np.where(np.arange(16) % 8 < 2, factor, 2)
    codes = discrete(np.stack([quarter, half, np.zeros(16, int), factor], axis=1))
    assert disentanglement.mig(codes, factor[:, np.newaxis]) == pytest.approx(0.5)
    codes = discrete(np.stack([quarter, half, np.zeros(16, int)], axis=1))
    assert disentanglement.mig(codes, factor[:, np.newaxis]) == pytest.approx(0.25)
    alone = discrete(half[:, np.newaxis])
    assert disentanglement.mig(alone, factor[:, np.newaxis]) == pytest.approx(0.5)


def test_continuous_latents_are_cut_into_bins_of_equal_width():
    factor = np.arange(40)[:, np.newaxis]
    latent = continuous(factor * 0.1)
    assert disentanglement.mig(latent, factor) == pytest.approx(np.log(20) / np.log(40))
    assert disentanglement.mig(latent, factor, bins=40) == pytest.approx(1.0)
    far = continuous(np.where(factor == 39, 1e6, factor))  # all others are in one bin
    expected = stats.entropy([1, 39]) / np.log(40)
    assert disentanglement.mig(far, factor) == pytest.approx(expected)


def test_predictability_is_that_of_the_published_classifier():
    random = np.random.default_rng(13)
    factor = random.choice(3, size=900, p=[0.8, 0.15, 0.05])
    latents = np.stack([factor + random.normal(size=900), 3 * random.normal(size=900)], axis=1)
    train, test = codes_module.split(900, 600, 300, np.random.default_rng(0))
    accuracies = []
    for latent in latents.T[:, :, np.newaxis]:
        classifier = svm.LinearSVC(C=0.01, class_weight="balanced", max_iter=100_000)
        classifier.fit(latent[train], factor[train])
        accuracies.append(classifier.score(latent[test], factor[test]))
    result = measure("sap", continuous(latents), factor[:, np.newaxis])
    assert result == pytest.approx(abs(accuracies[0] - accuracies[1]), abs=1e-9)


def test_a_fit_that_stops_early_warns_nobody(factors, perfect):
    classifier = linear_model.LogisticRegression(max_iter=1)
    disentanglement._fit(classifier, perfect.continuous, factors[:, 2])
    assert classifier.n_iter_ == 1


def test_a_useless_code_scores_by_chance(factors, useless):
    assert measure("mig", useless, factors) < 0.01
    assert measure("sap", useless, factors) < 0.03
    assert measure("factor_vae_score", useless, factors) == pytest.approx(1 / 3, abs=0.06)
    assert measure("beta_vae_score", useless, factors) == pytest.approx(1 / 3, abs=0.06)
    disentangled, complete, informative = measure("dci", useless, factors)
    assert disentangled < 0.1 and complete < 0.2
    assert informative == pytest.approx(np.mean(1 / np.array(COUNTS)), abs=0.04)


def test_a_turned_code_is_informative_and_not_disentangled(entangled):
    factors, straight, turned = entangled
    assert measure("mig", straight, factors) > 0.95 and measure("mig", turned, factors) < 0.03
    assert measure("sap", straight, factors) > 0.05 and measure("sap", turned, factors) < 0.03
    assert measure("dci", straight, factors) == pytest.approx((1.0, 1.0, 1.0), abs=0.01)
    disentangled, complete, informative = measure("dci", turned, factors)
    assert disentangled < 0.1 and complete < 0.1 and informative > 0.8


def test_a_factor_may_be_held_by_a_categorical_latent(factors, perfect):
    codes = Codes(perfect.continuous[:, :3], 5 - factors[:, :1])
    assert measure("mig", codes, factors) > 0.98
    assert measure("factor_vae_score", codes, factors) == 1.0
    assert measure("beta_vae_score", codes, factors) > 0.99
    assert measure("dci", codes, factors) == pytest.approx((1.0, 1.0, 1.0), abs=0.01)
    without = continuous(codes.continuous)
    assert measure("mig", without, factors) < 0.7
    assert measure("factor_vae_score", without, factors) < 0.95


def test_the_columns_of_a_categorical_latent_count_as_one():
    factors = np.random.default_rng(5).integers(6, size=(3000, 2))
    codes = discrete(np.stack([factors[:, 1], factors[:, 0]], axis=1))
    disentangled, complete, _ = measure("dci", codes, factors)
    assert disentangled > 0.99 and complete > 0.99


def test_a_factor_held_twice_is_disentangled_and_not_complete(entangled):
    factors, straight, _ = entangled
    twice = continuous(np.concatenate([straight.continuous, straight.continuous * 2], axis=1))
    assert measure("mig", twice, factors) == pytest.approx(0.0, abs=0.01)
    assert measure("sap", twice, factors) < 0.03
    disentangled, complete, informative = measure("dci", twice, factors)
    assert disentangled > 0.99 and informative > 0.99
    assert complete == pytest.approx(0.5, abs=0.05)  # 1 - log 2 / log 4
    assert measure("factor_vae_score", twice, factors) == 1.0
    assert measure("beta_vae_score", twice, factors) > 0.99


def test_a_latent_that_holds_two_factors_costs_disentanglement_and_votes():
    factors = np.random.default_rng(6).integers(3, size=(3000, 3))
    codes = discrete(np.stack([factors[:, 0] * 3 + factors[:, 1], factors[:, 2]], axis=1))
    disentangled, complete, _ = measure("dci", codes, factors)
    assert complete > 0.99 and disentangled < 0.7
    assert measure("factor_vae_score", codes, factors) == pytest.approx(2 / 3, abs=0.03)


def test_disentanglement_and_completeness_by_hand():
    importances = np.array([[1.0, 0.0], [0.0, 0.5], [0.0, 0.5]])
    result = disentanglement.dci_of_importances(importances)
    assert result == pytest.approx((1.0, 1 - np.log(2) / np.log(3) / 2))
    # Rows 3:1, 1:1 and nothing, with 4 and 2 of 6; columns 3:1 and 1:1 of three latents.
    quarter = stats.entropy([0.75, 0.25])
    disentangled, complete = disentanglement.dci_of_importances(
        np.array([[3.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    )
    assert disentangled == pytest.approx(4 / 6 * (1 - quarter / np.log(2)))
    expected = 4 / 6 * (1 - quarter / np.log(3)) + 2 / 6 * (1 - np.log(2) / np.log(3))
    assert complete == pytest.approx(expected)


def test_importances_without_a_choice():
    assert disentanglement.dci_of_importances(np.zeros((3, 2))) == (0.0, 0.0)
    assert disentanglement.dci_of_importances(np.array([[2.0]])) == (1.0, 1.0)
    one_factor = disentanglement.dci_of_importances(np.array([[1.0], [1.0]]))
    assert one_factor == pytest.approx((1.0, 0.0))


def test_the_latent_with_least_variance_relative_to_its_own_gets_the_votes():
    factors = np.random.default_rng(7).integers(10, size=(3000, 2))
    noise = np.random.default_rng(8).normal(size=(3000, 2))
    latents = (factors + noise) * [0.3, 100.0]  # the first has always the smaller variance
    assert measure("factor_vae_score", continuous(latents), factors) > 0.99


def test_pruned_latents_get_no_votes(factors, perfect):
    small = continuous(perfect.continuous * 0.05)
    assert measure("factor_vae_score", small, factors) == 0.0
    score = disentanglement.factor_vae_score(small, factors, variance_threshold=1e-4, **SIZES)
    assert score == 1.0
    silent = Codes(perfect.continuous * [1, 1, 1, 0, 1], np.zeros((3000, 1), int))
    assert measure("factor_vae_score", silent, factors) == pytest.approx(0.8, abs=0.15)
    assert measure("factor_vae_score", discrete(silent.discrete), factors) == 0.0


def test_variances_agree_with_numpy_and_gini_by_hand():
    codes = Codes(np.arange(8.0).reshape(4, 2) ** 2, np.array([[4], [4], [4], [9]]))
    batches = np.array([[0, 1, 2, 3], [0, 0, 1, 1]])
    result = sharing_module.variances(codes, batches)
    for batch, row in zip(batches, result, strict=True):
        assert row[:2] == pytest.approx(codes.continuous[batch].var(axis=0, ddof=1))
    assert result[:, 2] == pytest.approx([0.5, 0.0])  # 3 of 6 pairs differ; none


def test_batches_and_pairs_share_a_value_and_skip_single_examples():
    random = np.random.default_rng(9)
    factor = np.array([7, 1, 7, 3, 1, 7, 2])
    (sharing,) = sharing_module.shared_values(factor[:, np.newaxis])
    batches = sharing.batches(5000, 4, random)
    assert np.all(factor[batches] == factor[batches[:, :1]])
    assert set(np.unique(batches)) == {0, 1, 2, 4, 5}
    # A value as often as the data have it, and its examples alike.
    assert np.mean(factor[batches[:, 0]] == 7) == pytest.approx(3 / 5, abs=0.03)
    assert np.bincount(batches.ravel())[[0, 1, 2, 4, 5]] / 20000 == pytest.approx(0.2, abs=0.02)
    one, other = sharing.pairs((5000, 3), random)
    assert np.all(factor[one] == factor[other]) and not np.any(one == other)
    assert {*zip(one.ravel(), other.ravel(), strict=True)} == {
        *((0, 2), (0, 5), (2, 0), (2, 5), (5, 0), (5, 2), (1, 4), (4, 1))
    }


def test_chunks_change_no_draw_count(monkeypatch, factors, perfect):
    monkeypatch.setattr(sharing_module, "CHUNK", 64 * 5 * 7)
    random = np.random.default_rng(0)
    chunks = list(sharing_module.chunks(1000, 3, 64 * 5, random))
    assert sum(size for _, size in chunks) == 1000
    assert max(size for _, size in chunks) == 7 and {i for i, _ in chunks} == {0, 1, 2}
    assert measure("factor_vae_score", perfect, factors) == 1.0
    assert measure("beta_vae_score", perfect, factors) > 0.99


def test_a_constant_factor_is_left_out_and_a_constant_latent_useless(factors, perfect):
    more_factors = np.insert(factors, 1, 4, axis=1)
    more_latents = Codes(
        np.insert(perfect.continuous, 2, 5.0, axis=1), np.full((len(factors), 1), 3)
    )
    for name in MEASURES:
        before = measure(name, perfect, factors)
        assert measure(name, perfect, more_factors) == before
        assert measure(name, more_latents, factors) == pytest.approx(before, abs=0.02)


@pytest.mark.parametrize("name", MEASURES)
def test_factors_that_never_vary_cannot_be_judged(name, perfect):
    with pytest.raises(ValueError, match="expected at least one"):
        measure(name, perfect, np.ones((3000, 2), int))


@pytest.mark.parametrize("name", MEASURES)
def test_one_latent_and_one_factor_are_enough(name, factors, perfect):
    codes = continuous(perfect.continuous[:, 1:2])
    result = np.array(measure(name, codes, factors[:, 2:]))
    assert np.all(result > 0.1) if name == "sap" else np.allclose(result, 1.0, atol=0.02)


@pytest.mark.parametrize("name", MEASURES)
def test_equal_seeds_give_equal_scores_and_other_seeds_draw_other_examples(name, factors):
    noise = np.random.default_rng(10).normal(size=factors.shape)
    codes = continuous(factors @ np.array([[1.0, 0.3, 0], [0, 0.5, 0.4], [0.1, 0, 0.2]]) + noise)
    sizes = {"num_train": 400} if name == "mig" else {"num_train": 400, "num_test": 200}
    function = getattr(disentanglement, name)
    first, again, other = (function(codes, factors, seed, **sizes) for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize("name", MEASURES)
def test_the_order_of_latents_factors_and_examples_does_not_matter(name, factors, perfect):
    random = np.random.default_rng(11)
    noisy = perfect.continuous + random.normal(size=perfect.continuous.shape)
    codes = Codes(noisy, random.integers(2, size=(3000, 1)) + factors[:, :1])
    order = random.permutation(len(factors))
    other = Codes(codes.continuous[order][:, ::-1], codes.discrete[order])
    expected = measure(name, codes, factors)
    tolerance = 1e-9 if name == "mig" else 0.06
    result = measure(name, other, factors[order][:, ::-1])
    assert result == pytest.approx(expected, abs=tolerance)


def test_with_few_examples_the_split_keeps_its_proportion():
    train, test = codes_module.split(90, 10_000, 5_000, np.random.default_rng(0))
    assert (len(train), len(test)) == (60, 30)
    assert sorted([*train, *test]) == list(range(90))
    train, test = codes_module.split(90, 40, 20, np.random.default_rng(0))
    assert (len(train), len(test)) == (40, 20) and not set(train) & set(test)
    train, test = codes_module.split(90, 10_000, 0, np.random.default_rng(0))
    assert (len(train), len(test)) == (90, 0)


def test_scores_hold_students_intervals_over_the_seeds(factors, perfect):
    noise = np.random.default_rng(12).normal(size=perfect.continuous.shape)
    codes = continuous(perfect.continuous + noise)
    sizes = {"num_train": 300, "num_test": 200}
    result = disentanglement.scores(codes, factors, seeds=3, batch_size=5, **sizes)
    assert list(result) == [
        *("mig", "sap", "factor_vae_score", "beta_vae_score"),
        *("dci_disentanglement", "dci_completeness", "dci_informativeness"),
    ]
    dci = [disentanglement.dci(codes, factors, seed, **sizes) for seed in range(3)]
    batches = {**sizes, "batch_size": 5}
    values = {
        "mig": [disentanglement.mig(codes, factors, seed, num_train=300) for seed in range(3)],
        "sap": [disentanglement.sap(codes, factors, seed, **sizes) for seed in range(3)],
        "factor_vae_score": [
            disentanglement.factor_vae_score(codes, factors, seed, **batches) for seed in range(3)
        ],
        "beta_vae_score": [
            disentanglement.beta_vae_score(codes, factors, seed, **batches) for seed in range(3)
        ],
        "dci_disentanglement": [row[0] for row in dci],
        "dci_completeness": [row[1] for row in dci],
        "dci_informativeness": [row[2] for row in dci],
    }
    for name, metric in result.items():
        mean, error = np.mean(values[name]), stats.sem(values[name])
        low, high = stats.t.interval(0.95, 2, loc=mean, scale=error)
        expected = {"value": mean, "low": max(low, 0.0), "high": min(high, 1.0), "n": 3000}
        assert metric == pytest.approx(expected), name


def test_one_seed_has_no_interval(factors, perfect):
    with pytest.raises(ValueError, match="expected at least 2"):
        disentanglement.scores(perfect, factors, seeds=1)


def test_intervals_stay_between_zero_and_one():
    assert disentanglement._interval(np.array([0.0, 0.1]))["low"] == 0.0
    assert disentanglement._interval(np.array([1.0, 0.9]))["high"] == 1.0
    same = disentanglement._interval(np.array([0.5, 0.5]))
    assert same == {"value": 0.5, "low": 0.5, "high": 0.5}


def test_scores_of_a_pool_smaller_than_the_published_sizes(factors, perfect):
    codes = Codes(perfect.continuous[:200], factors[:200, :1])
    result = disentanglement.scores(codes, factors[:200], seeds=2)
    mig = result.pop("mig")  # takes all 200 in every draw
    assert 0 <= mig["value"] <= 1 and mig["low"] is mig["high"] is None
    for metric in result.values():
        assert metric["n"] == 200 and 0 <= metric["low"] <= metric["value"] <= metric["high"] <= 1


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((4, 2), (3, 1)), "codes have the shapes"),
        (((4,), (4, 1)), "codes have the shapes"),
        (((4, 0), (4, 0)), "codes have no latent"),
    ],
)
def test_codes_fit_each_other(shapes, message):
    with pytest.raises(ValueError, match=message):
        Codes(np.zeros(shapes[0]), np.zeros(shapes[1], int))


def test_values_are_named_after_the_majority_of_the_fit_examples():
    clusters, labels = np.array([5, 5, 5, 2, 2, 8]), np.array([1, 1, 4, 4, 4, 4])
    hits = disentanglement.cluster_hits(clusters, labels)
    assert hits.tolist() == [True, True, False, True, True, True]
    test_clusters, test_labels = np.array([5, 2, 8, 9, 5]), np.array([1, 4, 1, 4, 4])
    hits = disentanglement.cluster_hits(
        test_clusters, test_labels, fit_clusters=clusters, fit_labels=labels
    )
    assert hits.tolist() == [True, True, False, False, False]


def test_several_categorical_latents_count_as_one():
    clusters = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 2)
    labels = np.array([0, 1, 1, 0] * 2)
    assert disentanglement.cluster_hits(clusters, labels).all()
    assert disentanglement.cluster_hits(clusters[:, 0], labels).mean() == 0.5
    unseen = disentanglement.cluster_hits(
        np.array([[2, 0]]), np.array([0]), fit_clusters=clusters, fit_labels=labels
    )
    assert not unseen.any()
