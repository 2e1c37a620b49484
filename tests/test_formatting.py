import pytest

from kpipe import formatting


@pytest.mark.parametrize(
    ("metric", "value", "expected"),
    [
        ("accuracy", 0.98312, "98.31 %"),
        ("accuracy/Male", 1.0, "100.00 %"),
        ("recall/a/b", 0.5, "50.00 %"),
        ("majority_baseline", 0.1135, "11.35 %"),
        ("balanced_accuracy", 0.71, "71.00 %"),
        ("macro_f1", 0.6871, "68.71 %"),
        ("unsupervised_accuracy", 0.6, "60.00 %"),
        ("above_bag_of_words", 0.0917, "+9.17"),
        ("above_bag_of_words", -0.0917, "-9.17"),
        ("mae_above_linear_regression", 3.2, "+3.2000"),
        ("mae_above_linear_regression", -32.144, "-32.14"),
        ("psnr", 24.318, "24.32"),
        ("psnr_gain/0.1", -0.1, "-0.10"),
        ("log_loss", 0.0623, "0.0623"),
        ("roc_auc", 0.95, "0.9500"),
        ("mean_baseline_mae", 66.1749, "66.17"),
        ("r2", -0.5, "-0.5000"),
        ("bound", 21.0, "21.00"),
        ("squared_error", 0.00977, "0.009770"),
        ("discrete_information", 7.197e-5, "7.197e-05"),
        ("mae", 45231.7, "45,232"),
        ("mae", 0.0, "0.0000"),
        ("mae", None, "–"),
    ],
)
def test_a_metric_is_printed_as_what_it_is(metric, value, expected):
    assert formatting.number(metric, value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (17, "17"),
        (4000.0, "4,000"),
        (0.123456, "0.1235"),
        (12345.67, "12,345.7"),
        (-2.5, "-2.5"),
        (999.96, "1000"),
        (0.0, "0"),
        (3e-7, "3e-07"),
        (1.5e20, "1.5e+20"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
    ],
)
def test_a_number_of_the_users_data_is_short(value, expected):
    assert formatting.quantity(value) == expected


def test_an_interval_has_no_unit_of_its_own():
    entry = {"value": 0.9831, "low": 0.9804, "high": 0.9855, "n": 100}
    assert formatting.interval("accuracy", entry) == "[98.04, 98.55]"
    assert formatting.measured("accuracy", entry) == "98.31 % [98.04, 98.55]"
    assert formatting.measured("accuracy", {"value": 0.5}) == "50.00 %"
    assert formatting.measured("accuracy", {}) == "–"
    assert formatting.interval("accuracy", entry | {"low": None}) == ""


@pytest.mark.parametrize(
    ("metric", "value", "expected"),
    [
        ("above_bag_of_words", 0.0917, "9.17 points above it [-10.00, +20.00]"),
        ("above_bag_of_words", -0.0917, "9.17 points below it [-10.00, +20.00]"),
        ("mae_above_linear_regression", -0.5, "0.5000 below it [-0.1000, +0.2000]"),
    ],
)
def test_a_difference_is_above_or_below(metric, value, expected):
    entry = {"value": value, "low": -0.1, "high": 0.2, "n": 100}
    assert formatting.distance(metric, entry) == expected


def test_a_label_may_be_named_like_a_difference():
    assert formatting.number("recall/above_50k", 0.5) == "50.00 %"
    assert formatting.unit_of("recall/above_50k") == ""


def test_names_have_their_usual_spelling_and_unit():
    expected = {
        "svd_psnr": "SVD PSNR (dB)",
        "psnr_noisy/0.1": "PSNR noisy/0.1 (dB)",
        "roc_auc/Male": "ROC AUC/Male",
        "mae": "MAE",
        "rmse": "RMSE",
        "r2": "R2",
        "factor_vae_score": "FactorVAE score",
        "continuous_kl": "continuous KL (nats)",
        "continuous_kl_off_capacity": "continuous KL off capacity",
        "above_bag_of_words": "above bag of words (points)",
        "mae_above_linear_regression": "MAE above linear regression",
        "maestro": "maestro",
    }
    assert {name: formatting.with_unit(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("metric", "value", "expected"),
    [
        ("accuracy", 0.9825, "98.25 %"),
        ("accuracy", 0.87, "87 %"),
        ("log_loss", 0.05, "0.05"),
        ("psnr", 20.0, "20"),
        ("accuracy", None, "–"),
    ],
)
def test_the_limit_of_a_target_is_as_it_was_written(metric, value, expected):
    assert formatting.limit(metric, value) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.84, "0.8 s"),
        (9.97, "10 s"),
        (42.4, "42 s"),
        (59.6, "1 min"),
        (185, "3 min 5 s"),
        (3599.7, "1 h"),
        (7800, "2 h 10 min"),
        (3_600_000, "1,000 h"),
    ],
)
def test_durations_are_for_people(seconds, expected):
    assert formatting.duration(seconds) == expected


def test_values_of_a_record_are_for_people():
    content = {"gpus": [], "onednn": True, "cpus": 1234, "share": 0.1 + 0.2, "plan": None}
    said = "gpus: none, onednn: yes, cpus: 1,234, share: 0.3, plan: –"
    assert formatting.value(content) == said
    assert formatting.value([1 / 3, "a"]) == "0.333333, a"
    assert formatting.value(0.007777777777777776) == "0.00777778"
    assert formatting.value({"rate": [0.0012345678901]}, exact=True) == "rate: 0.0012345678901"


def test_counts_and_tiny_numbers():
    assert formatting.count(54_000) == "54,000" and formatting.count(None) == "–"
    assert formatting.counted(1, "label") == "1 label"
    assert formatting.counted(2000, "label") == "2,000 labels"
    assert formatting.small(2.44e-7) == "2.4e-07" and formatting.small(None) == "–"
    assert formatting.shape([None, 28, 28, 1]) == "(None, 28, 28, 1)"
    assert formatting.shape([[None, 2], [None, 3]]) == "((None, 2), (None, 3))"
    assert formatting.short(0.123456) == "0.1235" and formatting.short(None) == "-"
    assert formatting.short(1234567) == "1234567"
