"""Arguments and options that several commands have."""

import argparse
import difflib
import math
import os
import pathlib
import re
import shutil
from typing import NoReturn

from .. import files, quiet
from ..disk import refuse_same_command
from ..errors import UserError
from ..experiments import catalogue, key_table

MAX_WIDTH = 100  # columns of a help text or a table
# Arguments of kpipe.run and kpipe.search that are neither options nor keys.
IN_PYTHON = ("callbacks", "tuner")


Group = argparse._ArgumentGroup | argparse.ArgumentParser  # what takes options


class Parser(argparse.ArgumentParser):
    """Parser of a command's options; a mistake raises a UserError that suggests a fix."""

    def __init__(self, command: str, usage: str, description: str) -> None:
        super().__init__(
            prog=command,
            usage=" ".join(filter(None, (command, usage, "[options]"))),
            description=description,
            add_help=False,
            allow_abbrev=False,
            formatter_class=lambda prog: argparse.HelpFormatter(
                prog, max_help_position=20, width=width()
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


def check_folder(folder: str) -> None:
    """Checks that there is a folder, before TensorFlow is imported to read the run in it."""
    path = pathlib.Path(folder).expanduser()
    if not path.is_dir():
        what = "not a folder" if path.exists() else "no such folder"
        raise UserError(f"{folder}: {what}; expected a run's folder, such as saved_models/NAME")


def width() -> int:
    """Columns of the terminal, up to MAX_WIDTH; MAX_WIDTH if there is none."""
    return min(MAX_WIDTH, max(60, shutil.get_terminal_size((MAX_WIDTH, 24)).columns))


def seed(text: str) -> int:
    if not text.isdigit() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"{text}: expected an integer from 0 to {2**31 - 1}")
    return int(text)


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected an integer from 1")
    return int(text)


def number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text}: expected a number, such as 0.9")
    return value


def index(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text}: expected an integer from 0")
    return int(text)


def seconds(text: str) -> float:
    """Converts 90s, 20m or 1h30m to seconds."""
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if not match or not any(match.groups()):
        raise argparse.ArgumentTypeError(f"{text}: expected a time such as 90s, 20m or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    total = 3600 * hours + 60 * minutes + seconds
    if not total:
        raise argparse.ArgumentTypeError(f"{text}: expected more than 0 seconds")
    return float(total)


def add_pipeline(parser: Parser) -> None:
    """Adds the arguments shared by all commands that build a pipeline."""
    add = parser.add_argument
    add(
        "name",
        nargs="?",
        metavar="NAME",
        help="a pipeline, the path of your own pipeline file, or your own data: a folder with one "
        "folder of images per class, or a file with texts or a table",
    )
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
    add("--seed", type=seed, default=0, metavar="N", help="random seed (default 0)")
    add_skip_bad(parser)


def add_own_data(parser: Parser, overrides: str) -> None:
    """Adds the arguments of a command on a user's own data; `overrides` is their help."""
    add = parser.add_argument
    add("data", metavar="FOLDER_OR_FILE", help="folder of images, or file with texts or a table")
    add("overrides", nargs="*", metavar="key=value", help=overrides)
    add_skip_bad(parser)
    add_verbose(parser)
    add("-h", "--help", action="help", help="show this help")


def add_skip_bad(parser: Parser) -> None:
    parser.add_argument(
        "--skip-bad",
        type=positive,
        metavar="N",
        help="own data: leave out up to N files or rows that cannot be read, and list them",
    )


def add_corrections(parser: Parser) -> None:
    parser.add_argument(
        "--corrections",
        metavar="FILE",
        help="a suspects.csv of kpipe check-labels whose column correct_label is filled in",
    )


def add_to(parser: Group) -> None:
    parser.add_argument(
        "--to",
        type=number,
        metavar="VALUE",
        help="measure the time to this value of the validation curve, such as 0.9 (default: 2 "
        "points below the best)",
    )


def add_verbose(parser: Parser) -> None:
    parser.add_argument(
        "--verbose",
        action="store_true",
        help="show TensorFlow's log (default: written to ~/.kpipe/logs/tensorflow.log)",
    )


def common_options(parser: Parser, given: argparse.Namespace) -> dict:
    """Checks the arguments of `add_pipeline` and returns them as keywords."""
    overrides = own_overrides(given)
    options = {name for action in parser._actions for name in action.option_strings}
    for key, value in overrides.items():
        if (hasattr(given, key) and key != "skip_bad") or key in IN_PYTHON:
            option = f"--{key.replace('_', '-')}"
            hint = f"use {option}" if option in options else "see kpipe run NAME --help"
            raise UserError(f"{key}={value}: not a key; {hint}")
    # What fails without TensorFlow fails before it is imported.
    files.home()
    refuse_same_command(pathlib.Path(given.out))
    from ..datasets.base import check_kind  # imports NumPy

    check_kind(given.data)
    if given.skip_bad is not None and given.name in catalogue.names():
        raise UserError(
            f"--skip-bad {given.skip_bad}: {given.name} has its own data, of known sizes; expected "
            "your own folder or file: replace what the error names"
        )
    find_pipeline(given.name, overrides)
    names = ("seed", "data", "data_dir", "out")
    return {**{name: getattr(given, name) for name in names}, **overrides}


def own_overrides(given: argparse.Namespace) -> dict[str, str]:
    overrides = parse_overrides(given.overrides)
    return overrides if given.skip_bad is None else {**overrides, "skip_bad": str(given.skip_bad)}


def parse_overrides(words: list[str]) -> dict[str, str]:
    overrides: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.isidentifier() or not value:
            raise UserError(f"{word!r}: expected key=value")
        if key in overrides:
            raise UserError(f"{key} is given twice: {overrides[key]} and {value}")
        overrides[key] = value
    return overrides


def find_pipeline(name: str, overrides: dict[str, str]) -> pathlib.Path:
    """Finds the file of a pipeline, or of the one for a user's data."""
    from ..experiments import own

    return own.find(name, overrides).file


def start(verbose: bool) -> None:
    """Prepares the process, before a command imports TensorFlow."""
    if not verbose:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        quiet.move_logs()
    from .. import environment

    environment.reset_keras()
