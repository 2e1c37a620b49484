"""The command line: arguments in, exit code out. TensorFlow is imported only to do work."""

import argparse
import codecs
import difflib
import io
import json
import os
import pathlib
import re
import shutil
import sys
import textwrap
from collections.abc import Callable
from typing import NoReturn

from . import __version__, files, quiet
from .errors import RunError, UserError, nearest
from .experiments import catalogue, key_table

TUNERS = ("random", "bayesian", "hyperband", "grid")
# Arguments of kpipe.run and kpipe.search that are neither options nor keys.
IN_PYTHON = ("callbacks", "tuner")
MAX_WIDTH = 100  # columns of a help text or a table

HELP = """\
usage: kpipe COMMAND ...

  kpipe run NAME [key=value ...]  train, evaluate and export a pipeline
  kpipe run --list                list the pipelines
  kpipe run NAME --help           show what a pipeline does, and its keys
  kpipe predict FOLDER FILE ...   predict with the model of a finished run
  kpipe check-gradients NAME      check the gradient of a pipeline's loss
  kpipe --version                 show the version

A good start is kpipe run celeba_gender: it needs no data and takes a minute.
kpipe COMMAND --help shows the options of a command."""

RUN = (
    "Train a pipeline, evaluate it on the test split, export it, verify the export and write a "
    "report, all in saved_models/NAME. The same command resumes an interrupted run."
)
PREDICT = (
    "Predict with the exported model of a finished run: a label or value for each image, text or "
    "table row; for an autoencoder, the code of each image."
)
CHECK_GRADIENTS = (
    "Compare the gradient of a pipeline's loss with finite differences, in float64 and before "
    "training. Prints a table and saves a figure in saved_models/NAME-gradients. The exit code is "
    "1 if a gradient is wrong or cannot be checked."
)


class _Parser(argparse.ArgumentParser):
    """Parser of a command's options; a mistake raises a UserError that suggests a fix."""

    def __init__(self, command: str, usage: str, description: str) -> None:
        super().__init__(
            prog=command,
            usage=f"{command} {usage} [options]",
            description=description,
            add_help=False,
            allow_abbrev=False,
            formatter_class=lambda prog: argparse.HelpFormatter(
                prog, max_help_position=20, width=_width()
            ),
        )

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see {self.prog} --help")

    def parse(self, arguments: list[str]) -> argparse.Namespace:
        """Parses options and positional arguments in any order.

        Raises:
            UserError: An argument is missing, unknown or wrong.
        """
        given, unknown = self.parse_known_intermixed_args(arguments)
        if not unknown:
            return given
        option, _, value = unknown[0].partition("=")
        # Python 3.13 splits -hx and calls -x unknown.
        after = arguments[arguments.index(unknown[0]) + 1 :] if unknown[0] in arguments else []
        if not value and after and not after[0].startswith("-") and "=" not in after[0]:
            value = after[0]
        key = option.strip("-").replace("-", "_")
        options = [name[2:] for action in self._actions for name in action.option_strings]
        near = difflib.get_close_matches(option.strip("-"), options, n=1)
        hint = f"see {self.prog} --help"
        if near and key not in key_table.names_of(getattr(given, "name", None)):
            hint = f"did you mean --{near[0]}?"
        elif hasattr(given, "overrides"):
            hint = f"a key is written without dashes: {key}={value or 'VALUE'}"
        raise UserError(f"{option}: no such option; {hint}")


def main(arguments: list[str] | None = None) -> int:
    """Runs a command.

    Returns:
        The exit code: 0, 1 for a failed run, 2 for a mistake in the arguments.
    """
    _escape_what_cannot_be_printed()
    command, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        return _command(command)(rest)
    except (UserError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:  # a full disk, a folder that was deleted
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted; the same command resumes an unfinished run", file=sys.stderr)
        return 130


def _command(name: str) -> Callable[[list[str]], int]:
    """Returns the function of a command."""
    commands = {
        "run": _run,
        "predict": _predict,
        "check-gradients": _check_gradients,
        **dict.fromkeys(("--version", "-V"), _print_version),
        **dict.fromkeys(("--help", "-h"), _print_help),
    }
    if name in commands:
        return commands[name]
    if name in ("--list", *catalogue.names()) or name.endswith(".py"):
        raise UserError(f"no command {name!r}; did you mean kpipe run {name}?")
    known = ["run", "predict", "check-gradients", "--version", "--help"]
    raise UserError(f"no command {name!r}; {nearest(name, known)}")


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


def _start(verbose: bool) -> None:
    """Prepares the process, before a command imports TensorFlow."""
    if not verbose:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        quiet.move_logs()
    from . import environment

    environment.reset_keras()


def _width() -> int:
    """Columns of the terminal, up to MAX_WIDTH; MAX_WIDTH if there is none."""
    return min(MAX_WIDTH, max(60, shutil.get_terminal_size((MAX_WIDTH, 24)).columns))


def _run_parser() -> _Parser:
    parser = _Parser("kpipe run", "NAME [key=value ...]", RUN)
    _add_pipeline(parser)
    add = parser.add_argument
    add("--budget", type=_seconds, metavar="TIME", help="stop training after 90s, 20m, 1h30m, ...")
    add("--fresh", action="store_true", help="start over; an existing run is renamed and kept")
    add(
        "--search",
        metavar="TUNER",
        help=f"search over the keys, then run the best: {', '.join(TUNERS)}",
    )
    add("--trials", type=_positive, metavar="N", help="number of trials of a search (default 10)")
    add(
        "--plan",
        metavar="PLAN",
        help="graph: one training step per call; fused:K: K steps; default: chosen by a fixed rule",
    )
    add("--list", action="store_true", help="list the pipelines with their last results in --out")
    _add_verbose(parser)
    add("-h", "--help", action="store_true", help="show this help, or that of pipeline NAME")
    return parser


def _add_pipeline(parser: _Parser) -> None:
    """Adds the arguments shared by all commands that build a pipeline."""
    add = parser.add_argument
    add("name", nargs="?", metavar="NAME", help="a pipeline, or the path of your own file")
    add("overrides", nargs="*", metavar="key=value", help="override a default of the pipeline")
    add(
        "--data",
        default="auto",
        metavar="KIND",
        help="real: downloaded if missing; sample: small synthetic data; auto (default): real data "
        "if found on disk, else sample",
    )
    add("--data-dir", metavar="DIR", help="folder of real data (default ~/tensorflow_datasets)")
    add(
        "--out",
        default="saved_models",
        metavar="DIR",
        help="folder for results (default saved_models)",
    )
    add("--seed", type=_seed, default=0, metavar="N", help="random seed (default 0)")


def _add_verbose(parser: _Parser) -> None:
    parser.add_argument(
        "--verbose",
        action="store_true",
        help="show TensorFlow's log (default: written to ~/.kpipe/logs/tensorflow.log)",
    )


def _common_options(parser: _Parser, given: argparse.Namespace) -> dict:
    """Checks the arguments of `_add_pipeline` and returns them as keywords."""
    overrides = _parse_overrides(given.overrides)
    options = {name for action in parser._actions for name in action.option_strings}
    for key, value in overrides.items():
        if hasattr(given, key) or key in IN_PYTHON:
            option = f"--{key.replace('_', '-')}"
            hint = f"use {option}" if option in options else "see kpipe run NAME --help"
            raise UserError(f"{key}={value}: not a key; {hint}")
    # An unknown name or kind of data, and no home folder, fail before TensorFlow is imported.
    catalogue.find(given.name)
    files.home()
    from .datasets.base import check_kind  # imports NumPy

    check_kind(given.data)
    names = ("seed", "data", "data_dir", "out")
    return {**{name: getattr(given, name) for name in names}, **overrides}


def _run(arguments: list[str]) -> int:
    parser = _run_parser()
    given = parser.parse(arguments)
    if given.list:
        print(catalogue.table(pathlib.Path(given.out), _width()))
        return 0
    if given.help and given.name:
        _describe(catalogue.find(given.name), given.verbose)
        return 0
    if given.help or not given.name:
        print(f"{parser.format_help()}\npipelines:")
        print(textwrap.indent(textwrap.fill(", ".join(catalogue.names()), _width() - 2), "  "))
        return 0 if given.help else 2
    options = _common_options(parser, given)
    options |= {"plan": given.plan, "budget": given.budget, "fresh": given.fresh}
    if given.search is None:
        if given.trials is not None:
            raise UserError("--trials needs --search")
        _start(given.verbose)
        from .experiments.running import run

        run(given.name, **options)
        return 0
    if given.search not in TUNERS:
        raise UserError(f"--search {given.search}: expected {', '.join(TUNERS)}")
    _start(given.verbose)
    from .searching import search

    search(given.name, tuner=given.search, trials=given.trials, **options)
    return 0


def _check_gradients(arguments: list[str]) -> int:
    parser = _Parser("kpipe check-gradients", "NAME [key=value ...]", CHECK_GRADIENTS)
    _add_pipeline(parser)
    add = parser.add_argument
    add("--examples", type=_positive, default=3, metavar="N", help="training examples (default 3)")
    add(
        "--samples",
        type=_positive,
        default=20,
        metavar="N",
        help="entries per variable (default 20)",
    )
    _add_verbose(parser)
    add("-h", "--help", action="store_true", help="show this help")
    given = parser.parse(arguments)
    if given.help:
        print(parser.format_help())
        return 0
    if not given.name:
        raise UserError(f"no pipeline given; expected one of {', '.join(catalogue.names())}")
    options = _common_options(parser, given)
    _start(given.verbose)
    from .checking import check_gradients

    result = check_gradients(given.name, examples=given.examples, samples=given.samples, **options)
    return 0 if result.passed else 1


def _parse_overrides(words: list[str]) -> dict[str, str]:
    overrides: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.isidentifier() or not value:
            raise UserError(f"{word!r}: expected key=value")
        if key in overrides:
            raise UserError(f"{key} is given twice: {overrides[key]} and {value}")
        overrides[key] = value
    return overrides


def _describe(path: pathlib.Path, verbose: bool) -> None:
    """Prints a pipeline's docstring and its keys."""
    print(catalogue.read(path).docstring)
    print(
        "\nKeys: override them with key=value, or search their ranges with --search.\n", flush=True
    )
    rows = key_table.read(path)
    if rows is None:
        reason = "importing TensorFlow, the first time only"
        print(f"reading the keys of {path}: {reason}", file=sys.stderr, flush=True)
        _start(verbose)
        rows = key_table.declare(path)
    rows = [[cell.replace("|", " or ") for cell in row] for row in rows]
    print(catalogue.align(rows, _width()))
    print("\nkpipe run --help shows the options, such as --data, --seed and --search.")


def _predict_parser() -> _Parser:
    parser = _Parser("kpipe predict", "FOLDER [FILE ...] [--text TEXT]", PREDICT)
    add = parser.add_argument
    add("folder", metavar="FOLDER", help="folder of a finished run, such as saved_models/mnist_mlp")
    add(
        "files",
        nargs="*",
        metavar="FILE",
        help="images; texts: UTF-8, one per line; tables: CSV or .npy",
    )
    add("--text", action="append", default=[], metavar="TEXT", help="a text; can be repeated")
    add("--json", action="store_true", help="print one JSON object per line")
    add("--images", metavar="DIR", help="autoencoders only: save reconstructions to DIR")
    _add_verbose(parser)
    add("-h", "--help", action="help", help="show this help")
    return parser


def _predict(arguments: list[str]) -> int:
    given = _predict_parser().parse(arguments)
    if not pathlib.Path(given.folder).is_dir():
        raise UserError(f"{given.folder}: no such folder; expected a run's folder")
    missing = [path for path in given.files if not pathlib.Path(path).is_file()]
    if missing:
        raise UserError(f"{', '.join(missing)}: no such file")
    if not given.files and not given.text:
        raise UserError("nothing to predict; expected FILE ... or --text TEXT")
    _start(given.verbose)
    from .predicting import predict

    predict(given.folder, given.files, given.text, as_json=given.json, images=given.images)
    return 0


def _seed(text: str) -> int:
    if not text.isdigit() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"{text}: expected an integer from 0 to {2**31 - 1}")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected an integer from 1")
    return int(text)


def _seconds(text: str) -> float:
    """Converts 90s, 20m or 1h30m to seconds."""
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if not match or not any(match.groups()):
        raise argparse.ArgumentTypeError(f"{text}: expected a time such as 90s, 20m or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    total = 3600 * hours + 60 * minutes + seconds
    if not total:
        raise argparse.ArgumentTypeError(f"{text}: expected more than 0 seconds")
    return float(total)
