"""Redirects TensorFlow's log from the terminal to a file.

TensorFlow writes its log from C++ to file descriptor 2, the first lines before it has read
`TF_CPP_MIN_LOG_LEVEL`. Therefore descriptor 2 becomes a pipe to a small process that sorts lines:
information, warnings and errors of the C++ log go to the file; all others, such as a fatal check or
the output of a child process, go to the terminal. `sys.stderr` still writes to the terminal.
"""

import atexit
import contextlib
import datetime
import faulthandler
import io
import logging
import os
import pathlib
import shlex
import subprocess
import sys
import warnings

from . import files
from .errors import UserError, WriteError

MAX_LOG_BYTES = 1_000_000  # a larger file is renamed, and replaces the previous renamed one

# A line of absl's log begins with its severity and the date; F, a fatal error, is shown. The
# process ends when all writers have ended, for whatever reason.
_SORT_LINES = """
import os, re, sys
log = open(sys.argv[1], "ab", buffering=0)
hidden = b"IW" if sys.argv[1] == os.devnull else b"IWE"
of_log = re.compile(
    rb"[" + hidden + rb"][0-9]{4} |E[0-9]{4} .*failed call to cuInit|"  # there is no GPU
    rb"WARNING: All log messages before |To enable the following "
)
for line in sys.stdin.buffer:
    if of_log.match(line):
        try:
            log.write(line)
            continue
        except OSError:  # a full disk
            pass
    sys.stderr.buffer.write(line)
    sys.stderr.buffer.flush()
"""


def move_logs() -> pathlib.Path | None:
    """Moves the logs of TensorFlow and absl to $KPIPE_HOME/logs/tensorflow.log.

    Call it before TensorFlow is imported; it applies until the process ends. The terminal still
    shows text that Python code writes to `sys.stderr` or logs as an error, output of child
    processes, fatal errors of C++ code and the Python stack of a crash. In a Jupyter kernel
    descriptor 2 leads to the output of a cell, and `sys.stderr` does not depend on it.

    Returns:
        The file, or the null device if it cannot be written, and then errors are shown; None if
        nothing was moved: on Windows, or if `sys.stderr` is closed or replaced.
    """
    kernel = in_kernel()
    if kernel:  # tqdm, which TFDS imports, warns if ipywidgets are missing
        warnings.filterwarnings("ignore", "IProgress not found")
    # It tells of a cache that an unknown user cannot have.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    if sys.stderr is None:  # closed: else a file opened as descriptor 2 would receive the log
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        return None
    try:
        if os.name == "nt" or (not kernel and sys.stderr.fileno() != 2):
            return None
        path = _begin_log()
        terminal = os.dup(2)
    except (io.UnsupportedOperation, OSError):
        return None
    reading, writing = os.pipe()
    try:
        sorter = subprocess.Popen(
            [sys.executable, "-IS", "-c", _SORT_LINES, str(path)],
            stdin=reading,
            stdout=subprocess.DEVNULL,
            stderr=terminal,
            start_new_session=True,  # Ctrl-C must not end the sorter before the command
        )
        sys.stderr.flush()
        os.dup2(writing, 2)
    except OSError:
        os.close(terminal)
        return None
    finally:
        os.close(reading)
        os.close(writing)
    if not kernel:
        encoding, errors = sys.stderr.encoding, sys.stderr.errors
        sys.stderr = open(  # noqa: SIM115 - until the end of the process
            terminal, "w", buffering=1, encoding=encoding, errors=errors
        )
        if not faulthandler.is_enabled():
            faulthandler.enable(sys.stderr)
    atexit.register(_restore, terminal, sorter)
    _move_python_logs(path)
    return path


def in_kernel() -> bool:
    """Whether this process is the kernel of a notebook."""
    return "ipykernel.kernelapp" in sys.modules


def _begin_log() -> pathlib.Path:
    try:
        path = files.home() / "logs" / "tensorflow.log"
        files.make_folder(path.parent)
        if path.is_file() and path.stat().st_size > MAX_LOG_BYTES:
            os.replace(path, path.with_name("tensorflow.old.log"))
        now = datetime.datetime.now().isoformat(" ", "seconds")
        with open(path, "a", encoding="utf-8", errors="backslashreplace") as log:
            log.write(f"\n{now} process {os.getpid()}: {shlex.join(sys.argv)}\n")
        return path
    except (OSError, UserError, WriteError):  # no home folder, a read-only one or a full disk
        return pathlib.Path(os.devnull)


def _restore(terminal: int, sorter: subprocess.Popen) -> None:
    """Ends the sorting process, so that all lines are shown before the command ends."""
    os.dup2(terminal, 2)
    with contextlib.suppress(subprocess.TimeoutExpired):  # a child process still writes
        sorter.wait(timeout=1)


def _move_python_logs(path: pathlib.Path) -> None:
    """Moves warnings of TensorFlow's Python code, such as those about retracing and AutoGraph."""
    import absl.logging  # noqa: F401 - absl must create its logger itself

    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.handleError = lambda record: None  # type: ignore[method-assign]  # a full disk
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))

    def passes(record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            return True
        handler.handle(record)
        return False

    for name in ("absl", "tensorflow"):
        logging.getLogger(name).addFilter(passes)
