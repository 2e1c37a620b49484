"""Errors that are reported in one line, without a traceback."""

import contextlib
import difflib
import re
import signal
import sys
import threading
import types
from collections.abc import Iterable, Iterator

# Options and the like that a message names, and what they are in Python.
_IN_PYTHON = {
    "--cluster": "cluster",
    "--compare": "kpipe.compare",
    "--corrections": "corrections",
    "--data-dir ": "data_dir=",
    "--data ": "data=",
    "--devices": "devices",
    "--format ": "format=",
    "--fresh": "fresh=True",
    "--jobs": "jobs",
    "--out ": "out=",
    "--plan ": "plan=",
    "--precision": "precision",
    "--quantize ": "quantize=",
    "--quantize": "quantize",
    "--search": "kpipe.search",
    "--seeds ": "seeds=",
    "--to ": "to=",
    "--shards": "shards",
    "--trials": "trials",
    "--trust": "trust=True",
    "the same command": "the same call",
}


class _OneLine:
    """An error that a notebook shows without a traceback, as the command line does."""

    def _render_traceback_(self) -> list[str]:
        """Returns what IPython shows: the message, with arguments instead of options."""
        message = str(self)
        if "kpipe run " not in message:  # a command is shown as it is typed
            for option, argument in _IN_PYTHON.items():
                message = message.replace(option, argument)
        return [f"{type(self).__name__}: {message}"]


class UserError(_OneLine, Exception):
    """A mistake that the user can fix; states what was given, what was expected and what to do.

    The command line prints it without a traceback and ends with exit code 2.
    """

    exit_code = 2

    def __str__(self) -> str:
        """Returns one line, even if names of the user's files or columns have several."""
        return " ".join(super().__str__().splitlines())


class RunError(_OneLine, Exception):
    """A run that failed, for example because of a NaN loss or an export that is not verified.

    The command line prints it without a traceback and ends with exit code 1.
    """

    exit_code = 1


class WriteError(RunError):
    """A file that cannot be written since the disk is full; the same command resumes."""


class Interrupted(_OneLine, KeyboardInterrupt):
    """Ctrl-C, or "interrupt" in a notebook, during a run that can be resumed."""

    exit_code = 128 + signal.SIGINT


class Stopped(_OneLine, SystemExit):
    """SIGTERM during a run that can be resumed; it also ends a script, with exit code 143.

    Like `Interrupted` it is no `Exception`: what goes on after a failure, such as a search after
    that of a trial, ends.
    """

    exit_code = 128 + signal.SIGTERM

    def __init__(self, message: str):
        super().__init__(message)
        self.code = self.exit_code


INTERRUPTED = "interrupted; the same command resumes an unfinished run"


@contextlib.contextmanager
def stoppable(message: str) -> Iterator[None]:
    """Turns SIGTERM within the block into `Stopped`, which is said in one line when it has ended.

    As an exception it cleans up, and ends child processes; a second SIGTERM ends the process
    immediately.

    Args:
        message: That of the error.
    """

    def stop(number: int, frame: types.FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise Stopped(message)

    # A caller's own handler remains.
    own = threading.current_thread() is threading.main_thread()
    own = own and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if own:
        signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except Stopped as stopped:
        if own:  # a script ends without a word
            print(f"error: {stopped}", file=sys.stderr, flush=True)
        raise
    finally:
        if own:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def resumable() -> Iterator[None]:
    """Turns Ctrl-C within the block into `Interrupted`, and SIGTERM into `Stopped`.

    Their message says how to go on.
    """
    with stoppable("stopped by SIGTERM; the same command resumes an unfinished run"):
        try:
            yield
        except Interrupted:
            raise
        except KeyboardInterrupt as stopped:
            raise Interrupted(str(stopped) or INTERRUPTED) from None


def nearest(word: str, known: Iterable[str], listed: Iterable[str] = ()) -> str:
    """Writes the suggestion of an error about an unknown word: the nearest known word, and all.

    Args:
        word: The unknown word.
        known: The known words.
        listed: What is written instead of all of them.

    Example:
        nearest("droput", ["dropout", "l2"])  # "did you mean 'dropout'? known: dropout, l2"
    """
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1)
    offer = f"did you mean {close[0]!r}? " if close else ""
    return f"{offer}known: {', '.join(listed or known)}"


# Lines that Keras puts above an error in a layer.
_HEADER = "^Exception encountered when calling|Error encountered:$"


def first_line(error: BaseException, limit: int = 200) -> str:
    """Returns the first line of an error's message that says what is wrong.

    Keras puts headers above an error in a layer, and colours the message; TensorFlow adds names of
    its nodes.

    Args:
        error: The error; one without a message is described by its type.
        limit: Maximum number of characters.

    Example:
        first_line(KeyError())  # "KeyError"
    """
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    line = next((line for line in lines if not re.search(_HEADER, line)), "")
    line = re.sub(r"\{\{function_node .*?\}\} | \[Op:.*", "", line)
    return line[:limit].rstrip(".") or type(error).__name__
