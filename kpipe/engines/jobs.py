"""Jobs, and what comes of them: in another process, with its output and its errors."""

import contextlib
import dataclasses
import os
import pathlib
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.reduction import ForkingPickler
from typing import Any

from ..disk import writing
from ..errors import Interrupted, RunError, Stopped, UserError, first_line

ATTEMPTS = 3  # processes that a job may lose

# Where code lives that is not the user's.
_INSTALLED = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))


@dataclasses.dataclass(frozen=True)
class Job:
    """A call that an engine makes.

    Args:
        name: What messages call it, such as "trial 3"; no other that is running has it.
        function: A function of a module, which other processes import by its name.
        arguments: Plain data, or whatever can be pickled.
        log: File to which another process appends what the job prints.
    """

    name: str
    function: Callable[..., Any]
    arguments: dict[str, Any]
    log: pathlib.Path | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a job: a result, an error or, if its process died `ATTEMPTS` times, why.

    Args:
        job: The job.
        result: What its function returned.
        error: What it raised: a UserError or RunError as it is, another one as a Fault.
        lost: How its process died the last time, in one line; "" if it did not.
    """

    job: Job
    result: Any = None
    error: Exception | None = None
    lost: str = ""


class Fault(Exception):
    """An unexpected exception in another process, in one line with its place.

    Args:
        text: For example "NameError: name 'x' is not defined (mine.py:12)".
        details: The traceback.
    """

    def __init__(self, text: str, details: str = ""):
        super().__init__(text, details)
        self.details = details

    def __str__(self) -> str:
        return str(self.args[0])


def pack(job: Job) -> bytes:
    """Pickles a job for another process.

    Raises:
        UserError: Its arguments contain what cannot be pickled.
    """
    try:
        return bytes(ForkingPickler.dumps(job))
    except Exception as error:  # of whatever type: classes define how they are pickled
        raise UserError(_not_sent(job.name, error)) from None


def perform(packed: bytes) -> bytes:
    """Runs a job in this process, for another one that unpacks the answer."""
    result, error = _call(packed)
    try:
        return bytes(ForkingPickler.dumps((result, error)))
    except Exception as refusal:
        fault = Fault(f"the result cannot be pickled: {first_line(refusal)}")
        return bytes(ForkingPickler.dumps((None, fault)))


def unpack(job: Job, answer: bytes) -> Outcome:
    """Returns the outcome of a job that `perform` ran.

    Raises:
        Stopped, Interrupted: A signal ended the job, which can be resumed.
    """
    try:
        result, error = ForkingPickler.loads(answer)
    except Exception as refusal:
        return Outcome(job, error=Fault(f"the result cannot be read: {first_line(refusal)}"))
    if isinstance(error, (Stopped, Interrupted)):
        raise error
    return Outcome(job, result, error)


def _call(packed: bytes) -> tuple[Any, BaseException | None]:
    try:
        job = ForkingPickler.loads(packed)
    except Exception as error:
        return None, UserError(_not_sent("a job", error))
    try:
        with _output_to(job.log):
            return job.function(**job.arguments), None
    except (UserError, RunError, Stopped, Interrupted) as error:
        return None, error
    except BaseException as error:  # SystemExit too: a job's own exit does not end its process
        return None, _fault(error)


def _not_sent(name: str, error: Exception) -> str:
    return (
        f"{name}: it cannot be handed to another process ({first_line(error)}); define in a module "
        "what it uses, not in the script or notebook itself"
    )


def _fault(error: BaseException) -> Fault:
    """Describes an exception by its last line of code that is not an installed package's."""
    frames = traceback.extract_tb(error.__traceback__)[1:]  # without `_call`
    own = [frame for frame in frames if not frame.filename.startswith(_INSTALLED)]
    place = "".join(
        f" ({pathlib.Path(frame.filename).name}:{frame.lineno})" for frame in (own or frames)[-1:]
    )
    text = f"{type(error).__name__}: {first_line(error)}{place}"
    return Fault(text, "".join(traceback.format_exception(error)))


@contextlib.contextmanager
def _output_to(log: pathlib.Path | None) -> Iterator[None]:
    """Appends to a file what Python, C++ and child processes print."""
    if log is None:
        yield
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    shown = os.dup(1), os.dup(2)
    with writing(log), log.open("ab") as file:
        try:
            for descriptor in (1, 2):
                os.dup2(file.fileno(), descriptor)
            yield
        except BaseException as error:
            if isinstance(error, (UserError, RunError, Stopped, Interrupted)):
                print(f"error: {error}", file=sys.stderr)
            else:
                traceback.print_exc()
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for descriptor, own in zip((1, 2), shown, strict=True):
                os.dup2(own, descriptor)
                os.close(own)
