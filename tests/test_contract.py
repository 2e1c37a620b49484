"""Pipelines as strangers write them: what is ordinary works, what is wrong is one early line.

Each case is a pipeline file that differs in a function or a line from `BASE`; `own.py` makes its
data.
"""

import keras
import numpy as np
import own
import pytest
from sklearn import metrics as sklearn_metrics

import kpipe
from kpipe import tasks
from kpipe.checking import check_gradients
from kpipe.errors import RunError, UserError
from kpipe.experiments import execution
from kpipe.searching import search
from kpipe.training.loop import Loop

pytestmark = pytest.mark.usefixtures("undrawn")

BASE = '''"""Three blobs."""

import keras
import numpy as np
import own

from kpipe import Target, Trainer, datasets, figures, losses, models

task = "classification"
data = "mine"
plots = ()


def load_data(hp):
    return own.dataset(own.both(own.blobs))


def compiled(model, loss="sparse_categorical_crossentropy", metrics=("accuracy",)):
    model.compile("adam", loss, metrics=list(metrics))
    return model


def build_model(hp):
    return compiled(models.mlp((5,), 3, units=(8,)))


def build_trainer(hp):
    return Trainer(batch_size=20, epochs=1)
'''


@pytest.fixture
def pipeline(tmp_path):
    """Writes a pipeline file whose later lines replace those of `BASE`."""

    def write(lines=""):
        path = tmp_path / "mine.py"
        path.write_text(f"{BASE}\n\n{lines}\n")
        return str(path)

    return write


@pytest.fixture
def untrained(monkeypatch):
    """No step is trained and no test split opened."""

    def must_not(*_, **__):
        raise AssertionError("too late")

    monkeypatch.setattr(Loop, "_step", must_not)
    monkeypatch.setattr(execution, "count_opening", must_not)


# Keras' words on a subclassed model that a pipeline builds.
pytestmark = pytest.mark.filterwarnings(r"ignore:`build\(\)` was called on layer")

# --- what is ordinary -------------------------------------------------------------------------

FUNCTIONAL = """
def build_model(hp):
    inputs = keras.Input({shape})
    return compiled(keras.Model(inputs, {output}), loss={loss})
"""
SPARSE = '"sparse_categorical_crossentropy"'
LOGITS = "keras.losses.SparseCategoricalCrossentropy(from_logits=True)"
SOFTMAX = 'keras.layers.Dense(3, activation="softmax")(inputs)'
TWO_CLASSES = """
def load_data(hp):
    return own.dataset(own.both(own.blobs, 2), ("no", "yes"))
"""
SUBCLASSED = """
class Net(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = keras.layers.Dense(8, activation="relu")
        self.last = keras.layers.Dense(3, activation="softmax")

    def call(self, inputs, training=False):
        return {answer}


def build_model(hp):
    model = Net()
    model.build((None, 5))
    return compiled(model)
"""
TEXTS = """
def load_data(hp):
    texts = own.both(own.texts, {options})
    return own.dataset(texts, ("no", "yes"), vectorization=datasets.Vectorization(100, 8))


def build_model(hp):
    return compiled(models.bag_of_embeddings(2, vocabulary_size=100, embedding_dim=4, units=(4,)))
"""
IMAGES = """
def load_data(hp):
    return own.dataset(own.both(own.pictures, channels={channels}){options})
"""


def functional(output, loss=SPARSE, shape="(5,)"):
    return FUNCTIONAL.format(output=output, loss=loss, shape=shape)


WORKS = {
    "sequential": """
def build_model(hp):
    layers = [keras.layers.Dense(8, activation="relu"), keras.layers.Dense(3, "softmax")]
    return compiled(keras.Sequential([keras.Input((5,)), *layers]))
""",
    "sequential that is built by its data": """
def build_model(hp):
    layers = [keras.layers.Dense(8, activation="relu"), keras.layers.Dense(3, "softmax")]
    return compiled(keras.Sequential(layers))
""",
    "a plain output": functional(SOFTMAX),
    "a list of one output": functional(f"[{SOFTMAX}]"),
    "an output of another name": functional(f'{{"species": {SOFTMAX}}}'),
    "logits": functional('{"probabilities": keras.layers.Dense(3)(inputs)}', LOGITS),
    "plain logits": functional("keras.layers.Dense(3)(inputs)", LOGITS),
    "one sigmoid": TWO_CLASSES
    + functional(
        '{"probabilities": keras.layers.Dense(1, activation="sigmoid")(inputs)}',
        '"binary_crossentropy"',
    ),
    "one logit": TWO_CLASSES
    + functional("keras.layers.Dense(1)(inputs)", "keras.losses.BinaryCrossentropy(True)"),
    "subclassed": SUBCLASSED.replace("{answer}", "self.last(self.hidden(inputs))"),
    "subclassed with a name": SUBCLASSED.replace(
        "{answer}", '{"probabilities": self.last(self.hidden(inputs))}'
    ),
    "subclassed that is built by its data": SUBCLASSED.replace(
        "{answer}", "self.last(self.hidden(inputs))"
    ).replace("    model.build((None, 5))\n", ""),
    "images as floats": IMAGES.format(channels=1, options="")
    + functional(
        'keras.layers.Dense(3, activation="softmax")'
        "(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs)))",
        shape="(8, 8, 1)",
    ),
    "two channels as they are": "plots = (figures.worst_mistakes, figures.first_layer_filters)\n"
    + IMAGES.format(channels=2, options=', input_dtype="uint8"')
    + """
def build_model(hp):
    return compiled(models.cnn((8, 8, 2), 3, filters=(4,), dense_units=0))
""",
    "mixed precision": 'keras.mixed_precision.set_global_policy("mixed_float16")',
    "no val": """
def load_data(hp):
    return own.dataset(own.both(own.blobs), val_fraction=0.0)
""",
    "no val, retrained": """
def load_data(hp):
    return own.dataset(own.both(own.blobs), val_fraction=0.0)


def build_trainer(hp):
    return Trainer(batch_size=20, epochs=1, retrain=True)
""",
    "a val of its own, a target of one class": """
target = Target("recall/b", at_least=0.9)


def load_data(hp):
    return own.dataset({**own.both(own.blobs), "val": own.blobs(30, seed=2)})
""",
    "a metric of its own": """
def certainty(labels, probabilities):
    return keras.ops.max(probabilities, axis=-1)


def build_model(hp):
    return compiled(models.mlp((5,), 3, units=(8,)), metrics=["accuracy", certainty])


def build_trainer(hp):
    return Trainer(batch_size=20, epochs=2, monitor="val_certainty", monitor_mode="max")
""",
    "averaged weights": """
def build_model(hp):
    model = models.mlp((5,), 3, units=(8,))
    optimizer = keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.5)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
""",
    "a target of two classes": TWO_CLASSES
    + 'target = Target("roc_auc", at_least=0.5)\n'
    + functional('keras.layers.Dense(2, activation="softmax")(inputs)'),
}


# Each takes the way of another but for one line, which has a test of its own elsewhere.
WORKS_AS_OTHERS = {
    "a list of one output",
    "a metric of its own",
    "a target of two classes",
    "an output of another name",
    "averaged weights",
    "logits",
    "mixed precision",
    "no val",
    "one logit",
    "plain logits",
    "sequential",
    "subclassed",
    "subclassed with a name",
    "two channels as they are",
}


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[pytest.mark.slow] * (case in WORKS_AS_OTHERS)) for case in WORKS],
)
def test_an_ordinary_pipeline_goes_the_whole_way(case, pipeline, tmp_path, verified_here, capsys):
    before = keras.config.dtype_policy().name
    run = kpipe.run(pipeline(WORKS[case]), out=tmp_path / "out")
    assert run.record.status == "finished" and run.record.proof.passed
    assert "failed" not in capsys.readouterr().out  # such as a figure
    names = run.label_names
    test = run.data.test
    inputs, labels = test.take(np.arange(len(test)))
    # The export alone: what a user gets is what was measured.
    answers = kpipe.load(run.folder).predict(inputs)
    probabilities = answers["probabilities"]
    assert probabilities.shape == (40, len(names)) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(probabilities, run.predictions["probabilities"], atol=1e-5)
    said = [names.index(label) for label in answers["label"]]
    assert run.metrics["accuracy"]["value"] == sklearn_metrics.accuracy_score(labels, said)
    exact = probabilities / probabilities.sum(axis=1, keepdims=True, dtype=float)
    expected = sklearn_metrics.log_loss(labels, exact, labels=np.arange(len(names)))
    assert run.metrics["log_loss"]["value"] == pytest.approx(expected, abs=1e-5)
    assert keras.config.dtype_policy().name == before


def test_one_sigmoid_is_the_probability_of_the_second_class(pipeline, tmp_path, verified_here):
    faster = """
def compiled(model, loss):
    model.compile(keras.optimizers.Adam(0.05), loss, metrics=["accuracy"])
    return model
"""
    run = kpipe.run(pipeline(WORKS["one sigmoid"] + faster), out=tmp_path, epochs=10)
    assert run.metrics["accuracy"]["value"] > 0.75  # not the other way round
    answers = kpipe.load(run.folder).predict(own.blobs(40, 2, seed=1)[0])
    likely = answers["probabilities"][:, 1] > 0.5
    assert answers["label"].tolist() == np.where(likely, "yes", "no").tolist()


def test_mixed_precision_trains_in_float16_and_answers_in_float32(
    pipeline, tmp_path, verified_here, monkeypatch
):
    computed = []
    step = Loop._step

    def watched(loop, *arguments):
        computed.append({layer.compute_dtype for layer in loop.model.layers if layer.weights})
        return step(loop, *arguments)

    monkeypatch.setattr(Loop, "_step", watched)
    run = kpipe.run(pipeline(WORKS["mixed precision"]), out=tmp_path)
    assert "float16" in computed[0]
    layers = [layer for layer in run.model.layers if layer.name != "features"]
    assert {layer.compute_dtype for layer in layers} == {"float32"}
    assert {weight.dtype for weight in run.model.weights} == {"float32"}


def test_averaged_weights_are_those_that_are_measured_and_exported(
    pipeline, tmp_path, verified_here
):
    lines = WORKS["averaged weights"]
    averaged = kpipe.run(pipeline(lines), out=tmp_path / "averaged")
    last = kpipe.run(
        pipeline(lines.replace("use_ema=True", "use_ema=False")), out=tmp_path / "last"
    )
    pairs = zip(averaged.model.get_weights(), last.model.get_weights(), strict=True)
    assert all(np.abs(a - b).max() > 1e-3 for a, b in pairs)


@pytest.mark.parametrize(
    "options", ["classes=1", 'words=("\\N{CRYING FACE}", "\\N{GRINNING FACE}")']
)
def test_a_bag_of_words_that_cannot_be_fitted_is_left_out(
    options, pipeline, tmp_path, verified_here, capsys
):
    """Texts of one class, and emoji, of which scikit-learn's words see nothing."""
    run = kpipe.run(pipeline(TEXTS.replace("{options}", options)), out=tmp_path)
    assert run.record.proof.passed and "bag_of_words" not in run.predictions
    assert "bag_of_words_baseline" not in run.metrics
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("not compared with TF-IDF: ")]


def test_texts_without_a_fault_are_compared_with_a_bag_of_words(pipeline, tmp_path, verified_here):
    run = kpipe.run(pipeline(TEXTS.replace("{options}", "")), out=tmp_path)
    assert run.metrics["bag_of_words_baseline"]["value"] == 1.0


def test_a_broken_figure_costs_the_run_nothing_else(pipeline, tmp_path, verified_here, capsys):
    lines = "def broken_plot(run):\n    return 1 / 0\n\n\n"
    lines += "plots = (broken_plot, figures.learning_curves)"
    with pytest.raises(RunError, match=r"trained and saved, but incomplete.*broken_plot failed"):
        kpipe.run(pipeline(lines), out=tmp_path)
    run = kpipe.open_run(tmp_path / "mine")
    assert run.record.status == "finished" and (run.folder / "report.html").is_file()
    assert (run.folder / "figures" / "learning_curves.png").is_file()
    said = [line for line in capsys.readouterr().out.splitlines() if "broken_plot" in line]
    assert len(said) == 1 and "ZeroDivisionError" in said[0] and "mine.py" in said[0]


NUMBERS = """
task = "regression"
plots = (figures.learning_curves,)


def numbers(inputs, labels):
    return inputs, {labels}


def load_data(hp):
    return own.dataset(own.both(own.blobs, change=numbers), ("price",))
"""
REGRESSION = NUMBERS.replace("{labels}", '(inputs[:, 0] * 0.3 + 7).astype("float32")')


@pytest.mark.parametrize(
    ("output", "scaled"),
    [
        ("{0}", False),
        pytest.param("{0}", True, marks=pytest.mark.slow),
        pytest.param('{{"price": {0}}}', True, marks=pytest.mark.slow),
        ('{{"value": {0}}}', True),
    ],
)
def test_numbers_are_learned_as_numbers(output, scaled, pipeline, tmp_path, verified_here):
    lines = REGRESSION + functional(output.format("keras.layers.Dense(1)(inputs)"), '"mse"')
    if scaled:
        lines = lines.replace('("price",))', '("price",)).with_scaled_targets()')
    run = kpipe.run(pipeline(lines), out=tmp_path)
    inputs, _ = own.blobs(40, seed=1)
    truth = inputs[:, 0] * 0.3 + 7
    np.testing.assert_allclose(run.predictions["label"], truth, rtol=1e-6)
    values = kpipe.load(run.folder).predict(inputs)["value"]
    assert values.shape == (40,)
    expected = sklearn_metrics.mean_absolute_error(truth, values)
    assert run.metrics["mae"]["value"] == pytest.approx(expected, rel=1e-5)
    assert bool(expected < 2) is scaled  # after one epoch only what was scaled is near 7


# --- what is wrong ----------------------------------------------------------------------------


def labels(change):
    """Data whose labels are changed in train and test."""
    return f"""
def changed(inputs, labels):
    return inputs, {change}


def load_data(hp):
    return own.dataset(own.both(own.blobs, change=changed))
"""


def inputs(split, change):
    """Data of which one split has other inputs."""
    return f'''
def load_data(hp):
    splits = own.both(own.blobs)
    inputs, labels = splits["{split}"]
    {change}
    splits["{split}"] = inputs, labels
    return own.dataset(splits)
'''


AUTOENCODER = """
task = "reconstruction"


class Own(keras.Model):
    def call(self, images):
        return {{"code": keras.ops.reshape(images, (-1, 64))}}


def load_data(hp):
    return own.dataset(own.both(own.pictures)).as_autoencoder_data()


def build_model(hp):
    images = keras.Input((8, 8, 1))
    flat = keras.layers.Flatten()(images)
    encoder = {encoder}
    code = keras.Input({size})
    image = keras.layers.Reshape((8, 8, 1))(code)
    decoder = keras.Model(code, {decoded}, name="decoder")
    inputs = keras.Input((8, 8, 1))
    answer = encoder(inputs)
    code = answer["code"] if isinstance(answer, dict) else answer
    return compiled(keras.Model(inputs, decoder(code)), "mse", [])
"""


def autoencoder(
    encoded='{"code": flat}',
    decoded='{"reconstruction": image}',
    size="(64,)",
    encoder='keras.Model(images, {encoded}, name="encoder")',
):
    """An autoencoder of one's own, of which a part is wrong."""
    encoder = encoder.replace("{encoded}", encoded)
    return AUTOENCODER.format(encoder=encoder, decoded=decoded, size=size)


WRONG = {
    # the model
    "wrong width": (
        functional(SOFTMAX, shape="(7,)"),
        r" takes \(7\) .*expected features of shape \(5\), float32: change the model\'s Input",
    ),
    "an axis too many": (
        functional(f"keras.layers.Flatten()({SOFTMAX})", shape="(5, 1)"),
        r" takes \(5, 1\) .*expected features of shape \(5\), float32: change the",
    ),
    "two inputs": (
        """
def build_model(hp):
    parts = keras.Input((5,), name="first"), keras.Input((5,), name="second")
    outputs = keras.layers.Dense(3, "softmax")(keras.layers.Concatenate()(parts))
    return compiled(keras.Model(parts, outputs))
""",
        r"takes 2 inputs \(first, second\); expected one, .*: join them in load_data",
    ),
    "two outputs": (
        functional(f'{{"first": {SOFTMAX}, "second": {SOFTMAX}}}'),
        r"outputs first \(3\), second \(3\); expected one .*, or one named 'probabilities': keras",
    ),
    "a list of two outputs": (
        functional(f"[{SOFTMAX}, {SOFTMAX}]", f"[{SPARSE}, {SPARSE}]"),
        r"outputs \(3\), \(3\); expected one .*, or one named 'probabilities': keras\.Model\(",
    ),
    "no compile": (
        "def build_model(hp):\n    return models.mlp((5,), 3, units=(8,))",
        r"is not compiled; end build_model with model\.compile\(",
    ),
    "no model": (
        "def build_model(hp):\n    pass",
        r"build_model\(hp\) returned NoneType; expected",
    ),
    "no trainer": (
        "def build_trainer(hp):\n    return {}",
        r"build_trainer\(hp\) returned dict; expected a kpipe\.Trainer",
    ),
    "no dataset": (
        "def load_data(hp):\n    return own.blobs(100)",
        r"load_data\(hp\) returned tuple; expected a kpipe\.datasets\.Dataset",
    ),
    "too few outputs": (
        functional('keras.layers.Dense(2, activation="softmax")(inputs)'),
        r" \(2\) per example; expected 3 probabilities, one for each label name \(a, b, c\)",
    ),
    "too many outputs": (
        functional('keras.layers.Dense(4, activation="softmax")(inputs)'),
        r" \(4\) per example; expected 3 probabilities, one for each label name \(a, b, c\)",
    ),
    "logits taken for probabilities": (
        functional("100 * keras.layers.Dense(3)(inputs)"),
        r'expected probabilities: .*activation="softmax", or set from_logits=True in its loss',
    ),
    "sigmoids for one class": (
        functional('keras.layers.Dense(3, activation="sigmoid")(inputs)'),
        r'sum to .*expected 1: .*"softmax", .*from_logits=True.*task = "multilabel"',
    ),
    "a loss of one-hot labels": (
        functional(SOFTMAX, '"categorical_crossentropy"'),
        r"the loss of functional cannot compare outputs \(3\) with targets of shape one number",
    ),
    "an error in a layer": (
        """
class Own(keras.layers.Layer):
    def call(self, inputs):
        raise ValueError("wrong by itself")
"""
        + functional("Own()(inputs)"),
        r"^mine cannot be built with its defaults: wrong by itself$",
    ),
    "NaN at the start": (
        functional("keras.ops.log(keras.layers.Dense(3)(inputs) * 0 - 1)"),
        r"NaN or infinity for training examples; look for a division by 0 or a logarithm",
    ),
    "subclassed in mixed precision": (
        'keras.mixed_precision.set_global_policy("mixed_float16")\n' + WORKS["subclassed"],
        r"subclassed model in mixed precision, .*; build it with keras\.Model",
    ),
    # labels
    "one-hot labels": (
        labels("np.eye(3, dtype=int)[labels]"),
        r"labels of train have the shape \(3\) .*expected one integer: use labels\.argmax",
    ),
    "labels from 1": (
        labels("labels + 1"),
        r"labels of train range from 1 to 3; expected 0 to 2, .*\(a, b, c\): numpy\.unique\(",
    ),
    "labels with gaps": (
        labels("np.array([0, 5, 9])[labels]"),
        r"labels of train range from 0 to 9; expected 0 to 2, .*\(a, b, c\): numpy\.unique\(",
    ),
    "labels beyond 32 bits": (  # 2**32 would become 0
        labels("labels + 2**32"),
        r"my mine: labels such as 429496729\d are too large; expected integers from 0",
    ),
    "labels as strings": (
        labels('np.array(["a", "b", "c"])[labels]'),
        r"labels are strings; expected integers from 0, one for each name in label_names",
    ),
    "numbers as labels": (
        labels("inputs[:, 0]"),
        r'labels of train are float32; expected integers from 0 to 2; use task = "regression"',
    ),
    "test without labels": (
        """
def load_data(hp):
    inputs, labels = own.blobs(40)
    return own.dataset({"train": own.blobs(100), "test": (inputs, labels * 0 - 1)})
""",
        r"labels of test range from -1 to -1; expected 0 to 2, .*: remove the examples",
    ),
    "fewer names than classes": (
        'def load_data(hp):\n    return own.dataset(own.both(own.blobs), ("a", "b"))',
        r"labels of train range from 0 to 2; expected 0 to 1, .* for 2 label names \(a, b\)",
    ),
    "one class": (
        labels("labels * 0").replace("change=changed)", 'change=changed), ("a",)'),
        r"label names \(a\); expected one for each class, at least 2: set label_names",
    ),
    "two classes of one name": (
        'def load_data(hp):\n    return own.dataset(own.both(own.blobs), ("a", "b", "a"))',
        r"mine has 2 label names 'a'; expected a different one for each",
    ),
    "two of several labels of one name": (
        'task = "multilabel"\n'
        'def load_data(hp):\n    return own.dataset(own.both(own.blobs), ("a", "b", "a"))',
        r"mine has 2 label names 'a'; expected a different one for each",
    ),
    "several labels that never vary": (
        'task = "multilabel"\n' + labels("np.tile([1, 0, 1], (len(labels), 1))"),
        r"mine: all labels are constant in train; expected at least one that varies",
    ),
    "one class an example among several": (
        'task = "multilabel"',
        r'shape one number per .*expected 3 values of 0 or 1, .*; use task = "classification"',
    ),
    "several labels that are no yes or no": (
        'task = "multilabel"\n' + labels("np.eye(3, dtype=int)[labels] * 2"),
        r"labels of train range from 0 to 2; expected 0 or 1 for each label name",
    ),
    "a number that is none": (
        NUMBERS.replace("{labels}", "np.where(labels == 2, np.nan, inputs[:, 0])"),
        r"example \d+ of train has the value nan \(\d+ such examples\); expected a finite number",
    ),
    "several numbers": (
        NUMBERS.replace("{labels}", "inputs[:, :2]"),
        r"labels of train have the shape \(2\) per example; expected one number",
    ),
    "several values of a number": (
        REGRESSION + functional("keras.layers.Dense(2)(inputs)", '"mse"'),
        r" \(2\) per example; expected one value: end it with keras\.layers\.Dense\(1\)",
    ),
    "a Trainer that trains on nothing": (
        "def build_trainer(hp):\n    return Trainer(batch_size=0)",
        r"Trainer\(batch_size=0\): expected an integer from 1 to 1,000,000",
    ),
    # inputs
    "NaN in train": (
        inputs("train", "inputs[3, 2] = np.nan"),
        r"^mine train 3 contains NaN or infinity \(1 such examples in this batch\); .*: replace it",
    ),
    "infinity in test": (
        inputs("test", "inputs[7:9, 0] = np.inf"),
        r"^mine test 7 contains NaN or infinity \(2 such examples in this batch\); .*: replace it",
    ),
    "another width in test": (
        inputs("test", "inputs = inputs[:, :4]"),
        r"^mine test 0 has shape \(4,\); expected \(5,\) numbers",
    ),
    "two channels": (
        IMAGES.format(channels=2, options=""),
        r"images of 2 channels, .*; expected 1 \(grey\) or 3 \(RGB\), or input_dtype=\"uint8\"",
    ),
    "pixels as floats": (
        """
def scaled(inputs, labels):
    return (inputs / 255).astype("float32"), labels


def load_data(hp):
    return own.dataset(own.both(own.pictures, change=scaled))
""",
        r"^mine train 0 has float32 pixels; expected uint8 from 0 to 255, or input_dtype=\"float32",
    ),
    "an empty test split": (
        inputs("test", "inputs, labels = inputs[:0], labels[:0]"),
        r"my mine: the test split is empty; expected at least 1 example",
    ),
    # the task and its target
    "an unknown task": (
        'task = "clasification"',
        r"mine\.py: no task 'clasification'; did you mean 'classification'\?",
    ),
    "a target that the task does not measure": (
        'target = Target("f1", at_least=0.9)',
        r"mine\.py: no metric 'f1' for the target; .*known: accuracy, ",
    ),
    "a target of a class that there is not": (
        'target = Target("recall/d", at_least=0.9)',
        r"mine\.py: no metric 'recall/d' for the target; did you mean 'recall/.'\?",
    ),
    "a target of two classes of three": (
        'target = Target("roc_auc", at_least=0.9)',
        r"mine\.py: no metric 'roc_auc' for the target",
    ),
    "a target of another task": (
        REGRESSION + 'target = Target("accuracy", at_least=0.9)',
        r"mine\.py: no metric 'accuracy' for the target; .*known: mae, ",
    ),
    "a target that is no Target": (
        "target = 0.9",
        r"mine\.py: target is float; expected a kpipe\.Target",
    ),
    # autoencoders
    "vectors to be reconstructed": (
        """
task = "reconstruction"


def load_data(hp):
    return own.dataset(own.both(own.blobs)).as_autoencoder_data()
""",
        r"mine has features of shape \(5,\); expected images, \(height, width, channels\)",
    ),
    "a classifier of what is to be reconstructed": (
        """
def load_data(hp):
    return own.dataset(own.both(own.pictures)).as_autoencoder_data()


def build_model(hp):
    return compiled(models.mlp((8, 8, 1), 3, units=(8,)))
""",
        r"mine has its inputs as targets, but the task learns labels; remove "
        r'as_autoencoder_data\(\) from load_data, or set task = "reconstruction"',
    ),
    "an autoencoder of labels": (
        """
task = "reconstruction"


def load_data(hp):
    return own.dataset(own.both(own.pictures))


def build_model(hp):
    return compiled(models.autoencoder((8, 8, 1), 2), losses.squared_error, [])
""",
        r"mine has labels as targets; call as_autoencoder_data\(\)",
    ),
    "a reconstruction of mirrored images": (
        """
task = "reconstruction"


def load_data(hp):
    images = own.dataset(own.both(own.pictures)).as_autoencoder_data()
    return images.augmented(flip_at_test=True)


def build_model(hp):
    return compiled(models.autoencoder((8, 8, 1), 2), losses.squared_error, [])
""",
        r"flip_at_test=True: a mean of two images is no reconstruction",
    ),
    "a classifier as an autoencoder": (
        """
task = "reconstruction"


def load_data(hp):
    return own.dataset(own.both(own.pictures)).as_autoencoder_data()


def build_model(hp):
    return compiled(models.mlp((8, 8, 1), 3, units=(8,)))
""",
        r"has no layers named encoder and decoder, which reconstruction needs",
    ),
    "a code without a name": (
        autoencoder(encoded="keras.layers.Flatten()(images)"),
        r'its encoder has no output "code"; name it: keras.Model\(input, {"code": ...}, name="enc',
    ),
    "a reconstruction without a name": (
        autoencoder(decoded="image"),
        r'its decoder has no output "reconstruction"; name it: .*, name="decoder"\)',
    ),
    "an encoder that is a subclass": (
        autoencoder(encoder='Own(name="encoder")'),
        r"its encoder is Own; expected a model of one input: keras\.Model\(input, .*encoder",
    ),
    "a code that is an image": (
        autoencoder(encoded='{"code": images}', size="(8, 8, 1)"),
        r"its encoder outputs codes of shape \(8, 8, 1\); expected one axis: use .*Flatten",
    ),
    "means without a divergence": (
        autoencoder(encoded='{"code": flat, "z_mean": flat, "z_log_var": flat}'),
        r'its encoder has no output "kl", which its latents need; see models\.joint_vae',
    ),
    "a divergence without its layer": (
        autoencoder(encoded='{"code": flat, "z_mean": flat, "z_log_var": flat, "kl": flat}'),
        r'"z_mean", but no layer KLRegularization\(name="continuous"\), which the measures',
    ),
}
# Known once the first step is prepared: the run's folder is there.
LATE = {
    "an unknown monitor": (
        'def build_trainer(hp):\n    return Trainer(monitor="val_acuracy")',
        r"monitor=val_acuracy: no such metric; expected loss, accuracy, val_loss, val_accuracy",
    ),
    "a monitor of no direction": (
        WORKS["a metric of its own"].replace(', monitor_mode="max"', ""),
        r'monitor=val_certainty: Keras does not know whether .*Trainer\(monitor_mode="max"\)',
    ),
}


@pytest.mark.parametrize("case", [*WRONG, *LATE])
def test_a_wrong_pipeline_ends_in_one_line_before_any_work(case, pipeline, tmp_path, untrained):
    lines, message = {**WRONG, **LATE}[case]
    out = tmp_path / "out"
    with pytest.raises(UserError, match=message) as caught:
        kpipe.run(pipeline(lines), out=out)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    assert case in LATE or not [*out.glob("[!.]*")]


def test_a_pipeline_that_ended_before_its_first_step_is_mended_without_further_words(
    pipeline, tmp_path, quick_runs
):
    wrong = LATE["an unknown monitor"][0]
    with pytest.raises(UserError, match="no such metric"):
        kpipe.run(pipeline(wrong), out=tmp_path / "out")
    run = kpipe.run(pipeline(wrong.replace("acuracy", "accuracy")), out=tmp_path / "out", epochs=1)
    assert run.record.status == "finished" and run.record.trainer["monitor"] == "val_accuracy"


def test_a_pipeline_that_was_edited_after_its_first_steps_is_not_resumed(
    pipeline, tmp_path, quick_runs, monkeypatch
):
    step = Loop._step

    def interrupted(loop, *arguments):
        result = step(loop, *arguments)
        if loop.history.step >= 2:
            raise KeyboardInterrupt
        return result

    options = {"out": tmp_path / "out", "checkpoint_seconds": 0.0}
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            kpipe.run(pipeline(), **options)
    with pytest.raises(UserError, match=r"contains a run with different code: .*--fresh"):
        kpipe.run(pipeline("x = 1"), **options)
    assert kpipe.run(pipeline(), **options).record.status == "finished"


REGISTERED = "@keras.saving.register_keras_serializable()\nclass Net"


def test_a_finished_run_of_a_subclassed_model_says_how_it_is_loaded(pipeline, tmp_path, quick_runs):
    lines = WORKS["subclassed that is built by its data"]
    path = pipeline(lines)
    first = kpipe.run(path, out=tmp_path / "out")
    again = kpipe.run(path, out=tmp_path / "out")
    with pytest.raises(
        UserError, match=r"model\.keras: cannot be loaded .*register_keras_ser"
    ) as e:
        _ = again.model
    assert "\n" not in str(e.value)
    lines = lines.replace("class Net", REGISTERED).replace("(self):", "(self, **options):")
    path = pipeline(lines.replace("super().__init__()", "super().__init__(**options)"))
    points = own.blobs(40, seed=1)[0]
    first = kpipe.run(path, out=tmp_path / "registered")
    again = kpipe.run(path, out=tmp_path / "registered")
    answers = [run.model.predict(points, verbose=0)["probabilities"] for run in (first, again)]
    np.testing.assert_array_equal(*answers)


def test_a_fault_that_only_training_shows_is_one_line_too(pipeline, tmp_path):
    lines = WORKS["averaged weights"].replace("SGD(0.5,", "SGD(1e30,")
    with pytest.raises(RunError, match=r"NaN|not finite") as caught:
        kpipe.run(pipeline(lines), out=tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_a_search_and_a_check_of_gradients_refuse_the_same(pipeline, tmp_path, untrained):
    for lines, message in (WRONG["no compile"], WRONG["a target that the task does not measure"]):
        path = pipeline(lines + "\n\n")
        with pytest.raises(UserError, match=message):
            search(path, out=tmp_path / "out", batch_size="16,32")
        with pytest.raises(UserError, match=message):
            check_gradients(path, out=tmp_path / "out")


ROC = """
def build_model(hp):
    roc = keras.metrics.AUC(name="roc")
    model = models.mlp((5,), 2, units=(8,))
    return compiled(model, "categorical_crossentropy", metrics=[roc])


def build_trainer(hp):
    return Trainer(monitor="val_roc")
"""


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (WORKS["no val"], r"mine has no val split, .* val_fraction"),
        (ROC, r"monitor=val_roc: .*max"),
    ],
)
def test_a_search_that_cannot_compare_its_trials_is_refused(
    lines, message, pipeline, tmp_path, untrained
):
    with pytest.raises(UserError, match=message):
        search(pipeline(lines), out=tmp_path / "out", batch_size="16,32")
    assert not [*(tmp_path / "out").glob("[!.]*")]


def test_whatever_is_measured_can_be_a_target(finished_run):
    known = tasks.find("classification").metric_names(finished_run.label_names)
    assert finished_run.metrics.keys() <= set(known)
