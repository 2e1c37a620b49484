"""What reaches the user's terminal of a command, and what only a log file."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from kpipe import quiet

HEAD = """
import logging, os, sys
from kpipe import quiet
log = quiet.move_logs()
"""
CLI = "import sys; from kpipe import cli; sys.exit(cli.main(sys.argv[1:]))"


@pytest.fixture
def ended(tmp_path):
    """Runs Python code in a process; it, and the text of the log."""

    def run(code, *arguments, **options):
        env = {**os.environ, "KPIPE_HOME": str(tmp_path / "home"), **options.pop("env", {})}
        options = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE} | options
        command = [sys.executable, "-c", code, *map(str, arguments)]
        done = subprocess.run(command, text=True, env=env, **options)
        log = tmp_path / "home" / "logs" / "tensorflow.log"
        return done, log.read_text() if log.is_file() else ""

    return run


NOISE = """
os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called are written\\\\n"
  b"I0000 00:00:1795653586.895138 1 port.cc:153] oneDNN custom operations are on.\\\\n"
  b"E0000 00:00:1795653590.543146 1 cuda_platform.cc:52] failed call to cuInit\\\\n")
""".replace("\\\\n", "\\n")


def test_tensorflows_own_lines_go_to_the_log(ended):
    done, log = ended(HEAD + NOISE + "logging.getLogger('tensorflow').warning('retracing')")
    assert (done.returncode, done.stderr) == (0, "")
    for part in ("All log messages", "oneDNN", "cuInit", "WARNING tensorflow: retracing"):
        assert part in log


def test_absls_warnings_go_to_the_log_and_errors_to_the_terminal(ended):
    code = "from absl import logging as a; a.warning('AutoGraph'); a.error('broken')"
    done, log = ended(HEAD + code)
    assert "broken" in done.stderr and "AutoGraph" not in done.stderr
    assert "AutoGraph" in log


@pytest.mark.parametrize(
    ("code", "seen"),
    [
        ("print('of Python', file=sys.stderr)", "of Python"),
        ("print('I0000 of Python', file=sys.stderr)", "I0000 of Python"),
        ("print('50 %', end='\\r', file=sys.stderr, flush=True)", "50 %"),
        ("import warnings; warnings.warn('of a library')", "UserWarning: of a library"),
        ("os.system('echo of a child >&2')", "of a child"),
        ("os.write(2, b'without a newline')", "without a newline"),
        ("raise ValueError('a fault')", "ValueError: a fault"),
        ("os.write(2, b'F0000 00:00 Check failed: x'); os.abort()", "Check failed: x"),
        ("os.abort()", "Fatal Python error: Aborted"),
        ("import ctypes; ctypes.string_at(0)", "Fatal Python error: Segmentation fault"),
        ("os.write(2, b'last words\\n'); os.kill(os.getpid(), 9)", "last words"),
    ],
)
def test_everything_else_reaches_the_terminal(ended, code, seen):
    done, log = ended(HEAD + NOISE + code)
    assert seen in done.stderr and "oneDNN" not in done.stderr
    assert seen not in log and "oneDNN" in log


def test_a_closed_stderr_stays_silent_and_no_file_takes_its_place(ended, tmp_path):
    path = tmp_path / "a_file_of_the_run"
    code = HEAD + f"file = open({str(path)!r}, 'w'); assert file.fileno() != 2" + NOISE
    done, log = ended(code, preexec_fn=lambda: os.close(2), stderr=None)
    assert done.returncode == 0 and not log and not path.read_text()


def test_only_errors_are_shown_if_the_log_cannot_be_written(ended, tmp_path):
    (tmp_path / "home").write_text("no folder")
    done, _ = ended(HEAD + NOISE + "os.write(2, b'E0000 00:00:1 1 file.cc:5] broken\\n')")
    (line,) = done.stderr.splitlines()  # not that there is no GPU
    assert done.returncode == 0 and line.endswith("file.cc:5] broken")


def test_a_large_log_is_set_aside(ended, tmp_path):
    folder = tmp_path / "home" / "logs"
    folder.mkdir(parents=True)
    (folder / "tensorflow.log").write_text("old\n" * 300_000)
    _, log = ended(HEAD + NOISE)
    assert "old" not in log and "oneDNN" in log
    assert (folder / "tensorflow.old.log").read_text().startswith("old\n")


def test_commands_are_quiet_and_a_notebook_is_left_alone():
    files = pathlib.Path(quiet.__file__).parent.rglob("*.py")
    users = [file.name for file in files if re.search(r"import .*\bquiet\b", file.read_text())]
    assert users == ["parsing.py"]


@pytest.mark.slow  # a process that imports TensorFlow
def test_a_mistake_is_the_only_line_after_tensorflow_was_imported(ended, tmp_path):
    # Keras' own settings are for other programs: kpipe would not even start with these.
    keras_home = tmp_path / "keras"
    keras_home.mkdir()
    settings = {"backend": "jax", "image_data_format": "channels_first", "floatx": "float64"}
    (keras_home / "keras.json").write_text(json.dumps(settings))
    shown = (
        "import atexit, keras; atexit.register(lambda: print(keras.config.floatx(), "
        "keras.config.image_data_format(), keras.backend.backend()))\n"
    )
    code = CLI.replace("sys.exit(", "code = ").replace("[1:]))", "[1:])") + "\n" + shown
    done, log = ended(
        code + "sys.exit(code)",
        *["run", "one_example", "units=3", "--out", tmp_path / "out"],
        env={"KERAS_HOME": str(keras_home)},
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: no key 'units'") and done.stderr.count("\n") == 1
    assert done.stdout == "float32 channels_last tensorflow\n"
    assert "oneDNN" in log


@pytest.mark.slow
def test_a_good_run_writes_nothing_to_stderr_unless_verbose(ended, tmp_path):
    arguments = ["run", "one_example", "--data", "sample", "--out", tmp_path / "out"]
    done, log = ended(CLI, *arguments)
    assert (done.returncode, done.stderr) == (0, "") and "oneDNN" in log
    done, _ = ended(CLI, *arguments, "--verbose")
    assert done.returncode == 0 and "oneDNN" in done.stderr
    broken = tmp_path / "broken.py"
    broken.write_text("import keras\n\n\ndef load_data(hp):\n    return keras.no_such_thing\n")
    done, _ = ended(CLI, "run", broken, "--out", tmp_path / "out")
    assert done.returncode == 2 and "broken.py" in done.stderr
