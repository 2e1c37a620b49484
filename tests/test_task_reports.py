"""What the tasks say of a run: the whole page and the summary of each, on runs made up here."""

import html.parser
import re
from types import SimpleNamespace

import numpy as np
import pytest

from kpipe import report, tasks
from kpipe.datasets import Vectorization
from kpipe.errors import UserError
from kpipe.experiments.summary import summary
from kpipe.inputs import TextInput, Tokens
from kpipe.inputs.tokens import Texts
from kpipe.measures import classes as evaluation
from kpipe.records import ProofRecord, Record, Run, TargetRecord

NOISE_LEVELS = ("0.1", "0.4")
TEXTS = TextInput(Vectorization())


def entry(value, half=0.02, n=100):
    return {"value": value, "low": value - half, "high": value + half, "n": n}


def make_run(folder, task, metrics, label_names=(), predictions=None, **details) -> Run:
    content = {
        "pipeline": f"my_{task}",
        "task": task,
        "title": "What is tried out.",
        "command": f"kpipe run my_{task}",
        "status": "finished",
        "headline": tasks.find(task).HEADLINE,
        "hyperparameters": {"learning_rate": 0.003},
        "weights_sha256": "ab" * 32,
        "finished": "2026-11-25T14:03:00+01:00",
        "data": {
            "name": "mine",
            "kind": "real",
            "official": True,
            "description": "mine, as found",
            "label_names": list(label_names),
            "examples": {"train": 800, "val": 100, "test": 100},
            "test_openings": 1,
            "duplicates": 0,
        },
        "model": {"name": "mlp", "parameters": 12, "trainable_parameters": 10},
        "training": {"epochs": 2, "best_epoch": 1, "steps": 20, "stopped_by": "epochs"},
        "proof": {
            "passed": True,
            "max_difference": 2.4e-7,
            "differences": {"serving_default": 2.4e-7},
            "compared": ["4 odd rows"],
            "batches": [1, 7, 64],
            "test_examples": 100,
        },
    }
    return Run(
        name=f"my_{task}",
        folder=folder,
        record=Record.from_json(content | details),
        metrics=metrics,
        history={"epoch": [1, 2], "loss": [1.0, 0.5], "val_loss": [1.0, 0.9]},
        _predictions=predictions or {"label": np.zeros(100, int)},
    )


def make_classifier(folder) -> Run:
    label = np.arange(100) % 3
    probabilities = np.full((100, 3), 0.1)
    predicted = np.where(np.arange(100) < 90, label, (label + 1) % 3)
    probabilities[np.arange(100), predicted] = 0.8
    probabilities[95, predicted[95]] = 0.8004
    names = ("cat", "dog", "emu")
    metrics = evaluation.classification_metrics(label, probabilities, names, 0)
    predictions = {"label": label, "probabilities": probabilities}
    return make_run(folder, "classification", metrics, names, predictions)


def make_texts(folder, above) -> Run:
    run = make_classifier(folder)
    run.metrics["bag_of_words_baseline"] = entry(0.8)
    run.metrics["above_bag_of_words"] = entry(above, 0.05)
    about = {"vocabulary": 12_345, "sequence_length": 26, "cut_texts": 0.125}
    vectors = {"embeddings": {"file": "vectors.txt", "coverage": 0.5}}
    run.record.data.about, run.record.data.usage = about | vectors, TEXTS.usage
    count = len(run.predictions["label"])
    texts = Texts.of([f"text {i} {'very ' * 200}".encode() for i in range(count)])
    column = Tokens(np.zeros((count, 26), "int32"), np.full(count, 26, "int32"), texts)
    test = SimpleNamespace(column=column, rows=np.arange(count))
    run.data = SimpleNamespace(vocabulary=("", "[UNK]"), input_shape=(26,), test=test)
    return run


def make_labels(folder) -> Run:
    random = np.random.default_rng(0)
    label = random.integers(0, 2, (100, 3))
    label[:, 2] = 0
    probabilities = np.clip(label + random.normal(0, 0.4, label.shape), 0, 1)
    names = ("Male", "Young", "Bald")
    metrics = evaluation.multilabel_metrics(label, probabilities, names, label)
    predictions = {"label": label, "probabilities": probabilities}
    return make_run(folder, "multilabel", metrics, names, predictions)


def make_autoencoder(folder, **changes) -> Run:
    names = ("squared_error", "psnr", "ssim", "train_squared_error")
    values = (0.0023, 26.5, 0.81, 0.0021)
    metrics = {}
    for prefix, factor in (("", 1.0), ("svd_", 0.9)):
        metrics |= {
            f"{prefix}{n}": entry(factor * v, 0.1 * v) for n, v in zip(names, values, strict=True)
        }
    metrics["train_error_over_svd"] = entry(1.02)
    for level in NOISE_LEVELS:
        for name in ("psnr_noisy", "psnr_denoised", "ssim_noisy", "ssim_denoised", "psnr_gain"):
            metrics[f"{name}/{level}"] = entry(7.654)
    latents = {"continuous": 64, "discrete": [], "has_prior": False}
    run = make_run(folder, "reconstruction", metrics, latents=latents, likelihood_samples=0)
    run.record.proof.differences = {"encode": 1e-7, "decode": 2e-6, "reconstruct": 1e-6}
    return run


def make_vae(folder, discrete=(10,)) -> Run:
    run = make_autoencoder(folder)
    run.metrics = {k: v for k, v in run.metrics.items() if k in ("squared_error", "psnr", "ssim")}
    run.metrics |= {
        "bound": entry(98.7, 1),
        "negative_log_likelihood": entry(93.2, 1),
        "continuous_kl": entry(5.1),
        "continuous_capacity": {"value": 5.0, "low": None, "high": None, "n": 100},
        "discrete_kl": entry(2.3),
        "discrete_information": entry(2.1),
        "unsupervised_accuracy": entry(0.8),
        "mig": {"value": 0.21, "low": None, "high": None, "n": 100},
        "sap": entry(0.1),
        "factor_vae_score": entry(0.7),
    }
    run.record.details["latents"] = {"continuous": 2, "discrete": [*discrete], "has_prior": True}
    run.record.details["likelihood_samples"] = 100
    return run


def make_regression(folder, above=-3.5) -> Run:
    metrics = {
        "mae": entry(40.25, 5),
        "rmse": entry(52.125, 6),
        "r2": entry(0.48),
        "explained_variance": entry(0.5),
        "mean_baseline_mae": entry(66.2, 5),
        "linear_regression_mae": entry(43.75, 5),
        "mae_above_linear_regression": entry(above, 1.5),
    }
    return make_run(folder, "regression", metrics)


class Page(html.parser.HTMLParser):
    """The visible text of a page by its sections: {"": ..., "Figures": ...}."""

    def __init__(self, run):
        super().__init__()
        task = tasks.find(run.record.task)
        facts = task.facts(run)
        if "vocabulary" in run.record.data.about:
            facts += TEXTS.facts(run.record.data.about)
        path = report.write(run, task.FIGURES, facts, task.sections(run))
        self.source = path.read_text("utf-8")
        self.open, self.words, self.title = [], {"": []}, ""
        self.feed(self.source)
        assert not self.open
        self.sections = {title: " ".join("".join(x).split()) for title, x in self.words.items()}

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img", "link"):
            self.open.append(tag)
        if tag == "h2":
            self.title = None
        elif tag not in ("span", "strong"):
            self.words.setdefault(self.title, []).append(" ")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if self.title is None:
            self.title = text
            self.words[text] = []
        elif self.open and self.open[-1] not in ("style", "title"):
            self.words[self.title].append(text)


# By the network's lead: what comes first where it loses.
ALERTS = {
    -0.1: [
        "The network is worse than TF-IDF with logistic regression: 90.00 % against 80.00 %, "
        "difference -10.00 [-15.00, -5.00] points."
    ],
    3.5: [
        "The network is worse than linear regression: MAE 40.25 against 43.75, difference +3.5000 "
        "[+2.0000, +5.0000]."
    ],
}
COMMON = ["Training", "Environment", "Reproduce and use"]


def test_the_page_of_a_classifier(tmp_path):
    page = Page(make_classifier(tmp_path))
    assert list(page.sections) == [
        "",
        "Figures",
        "Classes",
        "Metrics",
        "Architecture: mlp",
        "Configuration",
        *COMMON,
    ]
    top = page.sections[""]
    assert "accuracy on the test split 90.00 % 95 % interval [82.56, 94.48], n = 100" in top
    assert "Always predicting the most frequent class 34.00 %" in top
    assert (
        "✓ Export verified: it matches the trained model within 2.4e-07 (allowed: 1e-05) in 1 "
        in top
    )
    assert "endpoint, with batches of 1, 7, 64, on 4 odd rows and on all 100 test examples." in top
    assert "Data: mine, as found (800 train, 100 val, 100 test) · trained 2026-11-25 14:03" in top
    assert page.sections["Classes"].startswith("class test examples precision recall cat 34 ")
    listed = re.findall(r"(\w[\w ]*?) [\d.]+(?: %)? \[", page.sections["Metrics"])
    assert listed == ["n accuracy", "100 majority baseline", "100 log loss"]


@pytest.mark.parametrize(
    ("above", "said"),
    [
        (0.1, "beats it: +10.00 [+5.00, +15.00] points"),
        (-0.1, "does not beat it: -10.00 [-15.00, -5.00] points"),
        (0.01, "no significant difference: +1.00 [-4.00, +6.00] points"),
    ],
)
def test_the_page_of_a_classifier_of_texts(tmp_path, above, said):
    page = Page(make_texts(tmp_path, above))
    top = page.sections[""]
    assert "TF-IDF with logistic regression 80.00 % [78.00, 82.00]" in top
    assert f"Network vs. TF-IDF {said}" in top
    assert "Texts 12,345 words, the first 26 tokens; 12.50 % of the training texts are" in top
    assert "Word vectors from vectors.txt, for 50.00 % of the words" in top
    mistakes = page.sections["Mistakes"]
    assert "probability text 95 very" in mistakes and "… " in mistakes
    assert mistakes.count("80.00 %") == 9 and mistakes.count("80.04 %") == 1
    assert '--text "A TEXT"' in page.sections["Reproduce and use"]


def test_the_page_of_a_network_with_several_labels(tmp_path):
    page = Page(make_labels(tmp_path))
    assert list(page.sections)[1:4] == ["Figures", "Labels", "Metrics"]
    assert "Accuracy averaged over the 2 of 3 labels that vary in train" in page.sections[""]
    assert "Always predicting each label's majority " in page.sections[""]
    assert "1 of 3 labels are constant in the training examples" in page.sections["Labels"]
    assert "Male" in page.sections["Labels"] and "Bald" not in page.sections["Labels"]
    assert "Male" not in page.sections["Metrics"]


def test_the_page_of_an_autoencoder(tmp_path):
    page = Page(make_autoencoder(tmp_path))
    assert list(page.sections)[1:5] == [
        "Figures",
        "Comparison with the truncated SVD",
        "Noise",
        "Architecture: mlp",
    ]
    assert "PSNR (dB) on the test split 26.50 95 % interval [23.85, 29.15]" in page.sections[""]
    assert "in 3 endpoints" in page.sections[""]
    table = page.sections["Comparison with the truncated SVD"]
    assert "Both encode an image in 64 numbers." in table
    assert "squared error is 1.0200 [1.0000, 1.0400] times the SVD's." in table
    assert "the network 0.002300 [0.002070, 0.002530] 26.50 [23.85, 29.15]" in table
    assert "0.4 7.65 [7.63, 7.67] 7.65 [7.63, 7.67] 7.65" in page.sections["Noise"]
    assert "model.decode(model.encode(images)['code'])" in page.sections["Reproduce and use"]


def test_the_page_of_a_variational_autoencoder(tmp_path):
    page = Page(make_vae(tmp_path))
    likelihood = (
        "-ln p(image) by importance sampling 93.20 [92.20, 94.20] nats, 100 codes per image"
    )
    assert likelihood in page.sections[""]
    assert list(page.sections)[1:3] == ["Figures", "Metrics"]
    for said in ("bound (nats) 98.70", "PSNR (dB) 26.50", "MIG 0.2100", "FactorVAE score 0.7000"):
        assert said in page.sections["Metrics"]


def test_the_page_of_a_regression(tmp_path):
    page = Page(make_regression(tmp_path))
    top = page.sections[""]
    assert "MAE on the test split 40.25 95 % interval [35.25, 45.25]" in top
    assert "MAE of always predicting the mean 66.20 [61.20, 71.20]" in top
    assert "Network vs. linear regression beats it: -3.5000 [-5.0000, -2.0000]" in top
    table = page.sections["Comparison with simple baselines"]
    assert "error is 3.5000 below linear regression [-5.0000, -2.0000]." in table
    assert "the network 40.25 [35.25, 45.25] linear regression 43.75" in table
    assert page.sections["Metrics"].count("[") == 4  # the heading, RMSE, R2, explained variance


def test_a_regression_without_baselines_has_no_table_of_them(tmp_path):
    run = make_regression(tmp_path)
    run.metrics = {name: run.metrics[name] for name in ("mae", "rmse")}
    page = Page(run)
    assert "Comparison with simple baselines" not in page.sections
    assert "MAE 40.25" in page.sections["Metrics"]
    assert summary(run).splitlines()[0].endswith("RMSE 52.12 [46.12, 58.12], n = 100")


def lines_of(run) -> list[str]:
    (run.folder / "report.html").touch()
    return summary(run).splitlines()


def test_a_summary_ends_with_what_all_runs_have(tmp_path):
    run = make_classifier(tmp_path)
    run.record.target = TargetRecord(
        metric="accuracy", at_least=0.9825, source="a course", verdict="not reached"
    )
    run.record.data.test_openings, run.record.data.duplicates = 2, 47
    assert lines_of(run) == [
        "my_classification on real data: test accuracy 90.00 % [82.56, 94.48], n = 100; "
        "majority class 34.00 %",
        "target accuracy >= 98.25 % (a course): not reached",
        "test split opened 2 times by this pipeline on this machine; 47 of its examples also occur "
        "in train",
        "export verified: largest difference 2.4e-07 (allowed: 1e-05), in serving_default, 100 "
        "test examples",
        f"report: {tmp_path / 'report.html'}",
    ]
    run.record.target = TargetRecord(metric="log_loss", at_most=0.05, verdict="reached")
    run.record.proof = ProofRecord(passed=False, max_difference=0.02, labels_agree=False)
    run.record.data.test_openings = 1
    _, target, opened, proof, _ = lines_of(run)
    assert opened.startswith("test split opened once by this pipeline")
    assert target == "target log_loss <= 0.05: reached"
    assert proof == ("export NOT VERIFIED: largest difference 0.02 (allowed: 1e-05), other labels")
    run.record.target = run.record.proof = run.record.data.test_openings = None
    assert len(lines_of(run)) == 2
    (tmp_path / "report.html").unlink()  # it failed
    assert "report.html" not in summary(run)


@pytest.mark.parametrize(
    ("above", "said"),
    [
        (0.1, "beaten, the network is 10.00 points above it [+5.00, +15.00]"),
        (-0.1, "NOT beaten, the network is 10.00 points below it [-15.00, -5.00]"),
        (0.01, "no significant difference, the network is 1.00 points above it [-4.00, +6.00]"),
    ],
)
def test_the_summary_of_texts_compares_with_the_bag_of_words(tmp_path, above, said):
    *first, _, line, _, _, _ = lines_of(make_texts(tmp_path, above))
    assert line == f"TF-IDF with logistic regression 80.00 % [78.00, 82.00]: {said}"
    assert first == ALERTS.get(above, [])


def test_the_summary_of_several_labels_says_what_the_mean_is_over(tmp_path):
    run = make_labels(tmp_path)
    said = "the mean over the 2 of 3 labels that vary in train, n = 100; each label's majority"
    assert said in lines_of(run)[0]
    run.record.data.label_names = ("Male", "Young")
    assert "the mean over the 2 labels, n = 100" in lines_of(run)[0]


def test_the_summary_of_an_autoencoder(tmp_path):
    first, second, *_ = lines_of(make_autoencoder(tmp_path))
    assert first.endswith(
        "test images reconstructed with squared error 0.002300 [0.002070, 0.002530], "
        "PSNR 26.50 [23.85, 29.15] dB, SSIM 0.8100 [0.7290, 0.8910], n = 100"
    )
    assert second.startswith("truncated SVD with as many components: squared error 0.002070 ")
    assert second.endswith(
        "on train the network's error is 1.0200 [1.0000, 1.0400] times the SVD's"
    )


@pytest.mark.parametrize(("discrete", "most"), [((10,), ""), ((10, 2), "at most ")])
def test_the_summary_of_a_variational_autoencoder(tmp_path, discrete, most):
    lines = lines_of(make_vae(tmp_path, discrete))
    assert lines[1:6] == [
        "-ln p(image) is at most 98.70 [97.70, 99.70] nats, and about 93.20 [92.20, 94.20] by "
        "importance sampling with 100 codes per image",
        "KL of the continuous latents 5.1000 [5.0800, 5.1200] nats, capacity 5",
        f"KL of the discrete latents 2.3000 [2.2800, 2.3200] nats; {most}2.1000 [2.0800, 2.1200] "
        "of them are information about the image",
        "unsupervised accuracy 80.00 % [78.00, 82.00]",
        "MIG 0.2100, SAP 0.1000 [0.0800, 0.1200], FactorVAE score 0.7000 [0.6800, 0.7200]",
    ]


@pytest.mark.parametrize(
    ("above", "said"),
    [
        (-3.5, "beaten, the network is 3.5000 below it"),
        (3.5, "NOT beaten, the network is 3.5000 above it"),
        (0.5, "no significant difference, the network is 0.5000 above it"),
    ],
)
def test_the_summary_of_a_regression(tmp_path, above, said):
    *alert, first, second, _, _, _ = lines_of(make_regression(tmp_path, above))
    assert alert == ALERTS.get(above, [])
    assert first.endswith(
        "test MAE 40.25 [35.25, 45.25], RMSE 52.12 [46.12, 58.12], R2 0.4800 [0.4600, 0.5000], "
        "n = 100; always predicting the mean has MAE 66.20"
    )
    assert second.startswith(f"linear regression has MAE 43.75 [38.75, 48.75]: {said} [")


@pytest.mark.parametrize("name", tasks.TASKS)
def test_every_task_has_what_its_runs_are_told_with(name):
    task = tasks.find(name)
    assert isinstance(task.HEADLINE, str) and callable(task.facts) and callable(task.sections)
    assert callable(task.alert)
    assert callable(task.summary) and task.FIGURES and all(map(callable, task.FIGURES))


def test_an_unknown_task_is_named_with_the_known_ones():
    with pytest.raises(UserError) as error:
        tasks.find("clasification")
    assert "no task 'clasification'; did you mean 'classification'? known: " in str(error.value)
    assert all(repr(name) in str(error.value) for name in tasks.TASKS)
    with pytest.raises(UserError, match="no task 'x'; known: "):
        tasks.find("x")


def test_runs_of_format_1_name_their_task_in_words():
    assert tasks.find("multi-label classification") is tasks.find("multilabel")


@pytest.mark.parametrize(("counts", "imbalanced"), [((40, 20, 20), False), ((41, 20, 20), True)])
def test_imbalanced_classes_have_balanced_metrics_beside_the_accuracy(tmp_path, counts, imbalanced):
    run, names = make_classifier(tmp_path), ("balanced_accuracy", "macro_f1")
    labels = np.repeat([0, 1, 2], counts)
    train = SimpleNamespace(labels=np.append(labels, [0] * 99), rows=np.arange(len(labels)))
    data = SimpleNamespace(train=train, label_names=run.label_names)
    task = tasks.find("classification")
    run.metrics = task.metrics(run.predictions, None, data)
    assert set(run.metrics) <= {*task.metric_names(run.label_names)}
    assert [name in run.metrics for name in names] == [imbalanced] * 2
    assert next(iter(run.metrics)) == "accuracy"
    interval = r"9\d\.\d\d % \[8\d\.\d\d, 9\d\.\d\d\]"
    said = rf"balanced accuracy {interval}, macro F1 {interval}"
    assert bool(re.fullmatch(said, lines_of(run)[1])) == imbalanced
