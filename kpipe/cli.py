"""The command line: arguments in, exit code out. TensorFlow is imported only to do work."""

import codecs
import importlib
import io
import json
import os
import pathlib
import sys
from collections.abc import Callable

from . import __version__
from .errors import Interrupted, RunError, Stopped, UserError, nearest
from .experiments import catalogue

HELP = """\
usage: kpipe COMMAND ...

  kpipe run NAME [key=value ...]  train, evaluate and export a pipeline
  kpipe run --list                list the pipelines
  kpipe run --scoreboard          list results over seeds, and the highest known
  kpipe run NAME --help           show what a pipeline does, and its keys
  kpipe run FOLDER                train on your own images, one folder per class
  kpipe run FILE target=COLUMN    train on your own texts or table
  kpipe run --continue RUN ...    train a finished run for more epochs
  kpipe look FOLDER_OR_FILE ...   look at your own data, without training
  kpipe new NAME FOLDER_OR_FILE   write a pipeline for your own data
  kpipe predict FOLDER FILE ...   predict with the model of a finished run
  kpipe serve RUN ...             answer requests over HTTP, with a page
  kpipe export RUN --format onnx  convert a run, also to LiteRT or OpenVINO
  kpipe explain FOLDER FILE ...   show what the answers hang on
  kpipe compare RUN RUN ...       tell which finished runs differ
  kpipe runs                      list all runs, finished or not
  kpipe verify RUN ...            verify files and answers of finished runs
  kpipe reproduce RUN             train a run again and compare
  kpipe diff RUN RUN              show what differs first between two runs
  kpipe card RUN                  write the model card of a finished run
  kpipe clean                     list what can be freed, and ask
  kpipe check-labels NAME ...     list labels that are probably wrong
  kpipe check-gradients NAME      check the gradient of a pipeline's loss
  kpipe --version                 show the version

A good start is kpipe run celeba_gender: it needs no data and takes a minute.
kpipe COMMAND --help shows the options of a command."""


COMMANDS = (
    *("run", "look", "new", "predict", "serve", "export", "explain"),
    *("check-gradients", "check-labels"),
    *("compare", "diff", "runs", "verify", "reproduce", "card", "clean"),
)


def main(arguments: list[str] | None = None) -> int:
    """Runs a command.

    Returns:
        The exit code: 0, 1 for a failed run, 2 for a mistake in the arguments, 130 after Ctrl-C
        and 143 after SIGTERM.
    """
    _escape_what_cannot_be_printed()
    command, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        return _command(command)(rest)
    except (UserError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # by a reader such as head, which has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # 128 + SIGPIPE, as other commands
    except OSError as error:  # a full disk, a folder that was deleted
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    except Stopped as stopped:  # said by `stoppable`
        return stopped.exit_code
    except KeyboardInterrupt as stopped:
        print(f"error: {str(stopped) or 'interrupted'}", file=sys.stderr)
        return Interrupted.exit_code


def _command(name: str) -> Callable[[list[str]], int]:
    """Returns the function of a command."""
    if name in COMMANDS:
        module = importlib.import_module(f".commands.{name.replace('-', '_')}", __package__)
        return module.main
    if name in ("--version", "-V"):
        return _print_version
    if name in ("--help", "-h"):
        return _print_help
    is_data = pathlib.Path(name).exists()
    if name in ("--list", *catalogue.names()) or name.endswith(".py") or is_data:
        raise UserError(f"no command {name!r}; did you mean kpipe run {name}?")
    raise UserError(f"no command {name!r}; {nearest(name, [*COMMANDS, '--version', '--help'])}")


def _print_version(arguments: list[str]) -> int:
    print(f"kpipe {__version__}")
    return 0


def _print_help(arguments: list[str]) -> int:
    print(HELP)
    return 0


def _escape_what_cannot_be_printed() -> None:
    """Writes characters that standard output cannot encode as JSON escapes."""

    def escape(error: UnicodeError) -> tuple[str, int]:
        assert isinstance(error, UnicodeEncodeError)
        return json.dumps(error.object[error.start : error.end])[1:-1], error.end

    codecs.register_error("kpipe.escape", escape)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="kpipe.escape")
