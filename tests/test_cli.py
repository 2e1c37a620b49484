import contextlib
import inspect
import io
import json
import os
import pathlib
import pwd
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import kpipe
from kpipe import checking, cli, datasets, environment
from kpipe.commands import parsing
from kpipe.datasets.prepared import default_data_dir
from kpipe.errors import UserError
from kpipe.experiments import catalogue

ROOT = pathlib.Path(__file__).parent.parent


def failed(capsys, *arguments):
    """Runs a command that must fail as a user's mistake: one line, exit code 2."""
    code = cli.main(list(arguments))
    out, err = capsys.readouterr()
    assert code == 2
    assert err.startswith("error: ") and err.count("\n") == 1
    assert "Traceback" not in out + err
    return err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rn"], "no command 'rn'; did you mean 'run'?"),
        (
            ["run", "mnist_mpl"],
            "no pipeline, file or folder 'mnist_mpl'; did you mean 'mnist_mlp'?",
        ),
        (["run", "missing.py"], "missing.py: no such file"),
        (["run", "mnist_mlp", "learning_rate"], "'learning_rate': expected key=value"),
        (["run", "mnist_mlp", "a=1", "a=2"], "a is given twice: 1 and 2"),
        (["run", "mnist_mlp", "seed=1"], "seed=1: not a key; use --seed"),
        (["run", "mnist_mlp", "name=a"], "name=a: not a key; see kpipe run NAME --help"),
        (["run", "mnist_mlp", "overrides=1"], "overrides=1: not a key; see kpipe"),
        (["run", "mnist_mlp", "-hx"], "x"),  # in other words from Python 3.13 on
        (["run", "mnist_mlp", "dropout=0.1,0.2"], "several values need --search"),
        (["run", "mnist_mlp", "droput=0.1"], "did you mean 'dropout'?"),
        (["mnist_mlp"], "no command 'mnist_mlp'; did you mean kpipe run mnist_mlp?"),
        (["--list"], "no command '--list'; did you mean kpipe run --list?"),
        (["run", "mnist_mlp", "--sed", "3"], "--sed: no such option; did you mean --seed?"),
        (["run", "mnist_mlp", "--epochs", "3"], "a key is written without dashes: epochs=3"),
        (["run", "--learning-rate=.1", "mnist_mlp"], "without dashes: learning_rate=.1"),
        (["run", "my_own.py", "--width", "--fresh"], "without dashes: width=VALUE"),
        (["predict", "nowhere", "--jsn"], "--jsn: no such option; did you mean --json?"),
        (["run", "mnist_mlp", "--seed", "x"], "x: expected an integer from 0"),
        (["run", "mnist_mlp", "--budget", "soon"], "soon: expected a time such as 90s"),
        (["run", "mnist_mlp", "--data", "fake"], "--data fake: expected real, sample or auto"),
        (["run", "mnist_mlp", "--data-dir", "nowhere"], "--data-dir nowhere: no such folder"),
        (["run", "mnist_mlp", "--plan", "fused"], "plan fused: expected graph, kernels, auto"),
        (["run", "mnist_mlp", "--precision", "half"], "precision half: expected float32 or mixed"),
        (["run", "mnist_mlp", "--search", "luck"], "--search luck: expected random, bayesian"),
        (["run", "mnist_mlp", "--trials", "3"], "--trials needs --search"),
        (["run", "mnist_mlp", "--jobs", "2"], "--jobs needs --search or --compare or --seeds"),
        (["run", "mnist_mlp", "--to", "x"], "--to: x: expected a number, such as 0.9"),
        (
            ["run", "mnist_mlp", "dropout=0,0.1", "--seeds", "3"],
            "--seeds and dropout=0,0.1: add --compare",
        ),
        (["run", "mnist_mlp", "--seeds", "3", "--search", "grid"], "--seeds and --search: give"),
        (
            ["run", "mnist_mlp", "--compare", "--learning-curve"],
            "--learning-curve and --compare: give one",
        ),
        (["compare", "nowhere"], "1 run given; expected the folders of two or more"),
        (["compare", "nowhere", "here"], "nowhere: no such folder"),
        (
            ["run", "mnist_mlp", "--learning-curve", "--search", "grid"],
            "--learning-curve: give one",
        ),
        (["run", "mnist_vae", "--learning-curve"], "mnist_vae learns no labels"),
        (["run", "mnist_mlp", "--data", "sample", "--out", "/proc/x"], "cannot create the folder"),
        (["predict", "nowhere", "a.jpg"], "nowhere: no such folder"),
    ],
)
def test_a_mistake_is_one_line(capsys, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in failed(capsys, *arguments)


@pytest.mark.parametrize(
    ("command", "function"),
    [
        ("run", kpipe.run),
        ("run", kpipe.search),
        ("run", kpipe.learning_curve),
        ("run", kpipe.compare),
        ("check-gradients", checking.check_gradients),
        ("check-labels", kpipe.check_labels),
    ],
)
def test_an_argument_of_a_function_is_not_a_key(capsys, command, function):
    for name in inspect.signature(function).parameters.keys() - {"overrides"}:
        assert f"{name}=1: not a key; " in failed(capsys, command, "mnist_mlp", f"{name}=1")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("20m", 1200), ("1h30m", 5400), ("2h", 7200)]
)
def test_times(text, seconds):
    assert parsing.seconds(text) == seconds


def test_predict_tells_label_and_probability(capsys, finished_run, digits, tmp_path):
    path = tmp_path / "digit.png"
    path.write_bytes(tf.io.encode_png(digits.test.inputs[0]).numpy())
    expected = finished_run.predictions["calibrated"][0]
    inside = np.flatnonzero(finished_run.predictions["prediction_set"][0])
    assert cli.main(["predict", str(finished_run.folder), str(path), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["file"] == str(path)
    assert result["label"] == str(expected.argmax())
    assert result["probability"] == pytest.approx(float(expected.max()), abs=1e-5)
    for name in ("probabilities", "calibrated"):
        recorded = finished_run.predictions[name][0]
        assert list(result[name].values()) == pytest.approx(recorded.tolist(), abs=1e-5)
    assert [i for i, member in result["prediction_set"].items() if member] == [*map(str, inside)]
    assert cli.main(["predict", str(finished_run.folder), str(path)]) == 0
    listed = ", ".join(str(i) for i in inside[np.argsort(-expected[inside])])
    sure = f"{100 * expected.max():.1f} %"
    shown = f"{path}: {expected.argmax()} ({sure}; 90 % set: {listed})\n"
    assert capsys.readouterr().out == shown


def test_predict_names_the_file_at_fault(capsys, finished_run, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8\xff cut off")
    message = failed(capsys, "predict", str(finished_run.folder), str(bad))
    assert f"{bad}: cannot be read as an image; convert it to JPEG or PNG" in message
    message = failed(capsys, "predict", str(finished_run.folder), str(tmp_path / "none.png"))
    assert "none.png: no such file" in message
    (tmp_path / "empty").mkdir()
    message = failed(capsys, "predict", str(finished_run.folder), str(tmp_path / "empty"))
    assert f"{tmp_path / 'empty'}: contains nothing that the model takes" in message


def test_help_of_a_pipeline_shows_every_key(capsys):
    assert cli.main(["run", "celeba_gender", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "CelebA faces at 32x32 pixels" in shown
    for key, default in {"learning_rate": "0.001", "filters": "32", "epochs": "25"}.items():
        assert any(line.split()[:2] == [key, default] for line in shown.splitlines())
    assert "optimizer=adamw" in shown


@pytest.mark.parametrize(
    ("arguments", "columns"),
    [
        (["--help"], 80),
        (["run", "--help"], 80),
        (["run", "--list"], 100),
        (["predict", "--help"], 80),
        (["explain", "--help"], 80),
        (["serve", "--help"], 80),
        (["check-gradients", "--help"], 80),
        (["check-labels", "--help"], 80),
        *((["run", name, "--help"], 100) for name in catalogue.names()),
    ],
)
def test_help_names_one_command_and_fits_the_terminal(capsys, monkeypatch, arguments, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    with contextlib.suppress(SystemExit):  # argparse's own --help
        assert cli.main(arguments) == 0
    shown = capsys.readouterr().out
    assert "run.py" not in shown
    assert max(map(len, shown.splitlines())) <= columns


LIGHT = """
import sys
from kpipe import cli
code = cli.main(sys.argv[1:])
heavy = {"tensorflow", "keras", "keras_tuner", "numpy", "sklearn", "scipy", "pandas", "matplotlib"}
heavy &= set(sys.modules)
print("heavy:", sorted(heavy), "code:", code)
"""


@pytest.mark.parametrize(
    "arguments",
    [["--version"], ["run", "--list"], ["run", "--help"], ["run", "celeba_gender", "--help"]],
)
def test_list_and_help_import_nothing_heavy(arguments, tmp_path):
    env = os.environ | {"KPIPE_HOME": str(tmp_path)}  # nothing is cached there
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=env,
    )
    assert done.stdout.endswith("heavy: [] code: 0\n") and not done.stderr
    assert not list(tmp_path.iterdir())


def test_the_script_of_a_checkout_lists_the_pipelines():
    done = subprocess.run(
        [sys.executable, str(ROOT / "pipelines" / "run.py"), "--list"],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    listed = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert listed == ["pipeline", *catalogue.names()]
    assert {"mnist_mlp", "celeba_gender", "logic_gates"} <= set(listed)


def test_rows_are_wrapped_to_a_width_and_lose_no_word():
    rows = [("name", "a range", "a condition"), ("x", "one, two, three, four, five", "none")]
    assert catalogue.align(rows) == (
        "name  a range                      a condition\nx     one, two, three, four, five  none"
    )
    assert catalogue.align(rows, 30) == (
        "name  a range      a condition\nx     one, two,    none\n      three,\n      four, five"
    )
    assert catalogue.align([("a_long_word", "another_one")], 10) == "a_long_word  another_one"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["/opt/kpipe/pipelines/run.py", "gmm"], "kpipe run gmm"),
        (["/usr/bin/kpipe", "run", "gmm", "--out", "my runs"], "kpipe run gmm --out 'my runs'"),
        (["pipelines/run.py", "gmm"], "kpipe run gmm"),
        (["kpipe", "run", "gmm", "--fresh"], "kpipe run gmm"),  # resumes what --fresh began
        # Python: the call is recorded instead, see test_objects.py
        (["-c"], ""),
        ([], ""),
        (["/home/me/experiment.py", "3"], ""),
        (["/home/me/run.py", "3"], ""),
        (["/usr/lib/ipykernel_launcher.py", "-f", "kernel.json"], ""),
    ],
)
def test_the_recorded_command_can_be_typed_again(monkeypatch, given, shown):
    monkeypatch.setattr(sys, "argv", given)
    assert environment.command() == shown


def test_what_a_console_cannot_print_is_escaped_as_in_json(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert cli.main(["--version"]) == 0
    print(json.dumps("Birne \u00e4 \U0001f34e \udcff", ensure_ascii=False), flush=True)
    line = written.getvalue().splitlines()[1]
    assert line == rb'"Birne \u00e4 \ud83c\udf4e \udcff"'
    assert json.loads(line) == "Birne \u00e4 \U0001f34e \udcff"


@pytest.fixture
def no_home(monkeypatch):
    """As in a container whose user has no name: no HOME, and no entry of the user id."""

    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


def test_without_a_home_folder_kpipe_home_is_enough(no_home, monkeypatch, tmp_path):
    monkeypatch.setenv("KPIPE_HOME", str(tmp_path))
    assert default_data_dir() == tmp_path / "tensorflow_datasets"
    assert datasets.mnist().find("auto").kind == "sample"


def test_without_any_home_help_works_and_an_error_says_what_to_set(
    no_home, monkeypatch, capsys, tmp_path
):
    monkeypatch.delenv("KPIPE_HOME", raising=False)
    own = tmp_path / "own.py"
    own.write_text(catalogue.find("one_example").read_text() + "\nfurther = 1\n")
    assert cli.main(["run", "one_example", "--help"]) == 0
    assert cli.main(["run", str(own), "--help"]) == 0
    assert cli.main(["run", "--list"]) == 0
    capsys.readouterr()
    assert "set KPIPE_HOME" in failed(capsys, "run", "mnist_mlp")


def test_settings_of_keras_that_cannot_work_are_refused(monkeypatch):
    import keras

    environment.check_keras()
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(UserError, match="runs on jax; kpipe needs tensorflow"):
        environment.check_keras()
    monkeypatch.undo()
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    with pytest.raises(UserError, match="channels_last"):
        environment.check_keras()


def test_keras_runs_on_tensorflow_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "keras", raising=False)
        kpipe.__getattr__("run")
    assert os.environ["KERAS_BACKEND"] == "tensorflow"


def test_importing_kpipe_is_light():
    code = "import sys, kpipe; print(sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_nan_run_ends_with_exit_code_1(capsys, tmp_path, monkeypatch):
    import keras

    monkeypatch.setattr(
        keras.Model,
        "train_step",
        lambda model, data: {"loss": tf.constant(np.nan), "accuracy": tf.constant(0.0)},
    )
    arguments = ["run", "mnist_mlp", "--data", "sample", "--out", str(tmp_path), "units_1=8"]
    assert cli.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: the loss became NaN") and error.count("\n") == 1
