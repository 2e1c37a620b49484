"""The command line: arguments in, exit code out. TensorFlow is imported only to do work."""

import argparse
import hashlib
import json
import os
import pathlib
import re
import sys

from . import __version__, files
from .errors import RunError, UserError
from .experiments import catalogue

TUNERS = ("random", "bayesian", "hyperband", "grid")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise UserError(f"{message}; see {self.prog} --help")


def main(arguments: list[str] | None = None, program: str = "kpipe run") -> int:
    """Runs a command; its exit code: 0, 1 for a failed run, 2 for a mistake in what was given."""
    # TensorFlow's log of its own start is for its developers.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        return _dispatch(arguments, program)
    except (UserError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:  # a full disk, a folder that went away
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted; the same command resumes an unfinished run", file=sys.stderr)
        return 130


def _dispatch(arguments: list[str], program: str) -> int:
    command, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if command == "run":
        return _run(rest, program)
    if command == "predict":
        return _predict(rest)
    if command == "check-gradients":
        return _check_gradients(rest)
    if command in ("--version", "-V"):
        print(f"kpipe {__version__}")
        return 0
    if command in ("--help", "-h"):
        print(
            "usage: kpipe run NAME [key=value ...]   train, evaluate, export and prove a pipeline\n"
            "       kpipe run --list                 every pipeline\n"
            "       kpipe run NAME --help            what a pipeline is, and its keys\n"
            "       kpipe predict FOLDER FILE ...    labels of images, or of lines of text\n"
            "       kpipe check-gradients NAME [key=value ...]\n"
            "                                        whether the loss' gradients are right\n"
            "       kpipe --version"
        )
        return 0
    known = ["run", "predict", "check-gradients", "--version", "--help"]
    raise UserError(f"no command {command!r}; {catalogue.nearest(command, known)}")


def _run_parser(program: str) -> _Parser:
    parser = _Parser(prog=program, add_help=False, allow_abbrev=False)
    add = parser.add_argument
    add("--list", action="store_true", help="every pipeline: task, data, target, last result")
    add("-h", "--help", action="store_true", help="this; with NAME also its docstring and keys")
    _add_common(parser)
    add("--plan", metavar="PLAN", help="graph or fused:K in place of the fixed rule")
    add("--budget", type=_seconds, metavar="TIME", help="stop training in time: 90s, 20m, 1h30m")
    add("--fresh", action="store_true", help="train anew; a standing run is kept aside")
    add("--search", metavar="TUNER", help=f"{', '.join(TUNERS)}: search, then run the best")
    add("--trials", type=_positive, metavar="N", help="of a search, default 10")
    return parser


def _add_common(parser: _Parser) -> None:
    """What running a pipeline and checking its gradients have in common."""
    add = parser.add_argument
    add("name", nargs="?", metavar="NAME", help="a pipeline, or a path to a file of your own")
    add("overrides", nargs="*", metavar="key=value", help="values in place of defaults")
    add("--seed", type=_seed, default=0, metavar="N", help="default 0")
    add("--data", default="auto", metavar="KIND", help="real, sample or auto (real if on disk)")
    add("--data-dir", metavar="DIR", help="TFDS' data folder, default ~/tensorflow_datasets")
    add("--out", default="saved_models", metavar="DIR", help="default saved_models")


def _common_options(given: argparse.Namespace) -> dict:
    """The same as keywords, once they are known to make sense."""
    if given.data not in ("real", "sample", "auto"):
        raise UserError(f"--data {given.data}: expected real, sample or auto")
    overrides = _parse_overrides(given.overrides)
    for key in overrides:
        if hasattr(given, key):
            raise UserError(f"{key}={overrides[key]}: no key; use --{key.replace('_', '-')}")
    catalogue.find(given.name)  # before anything heavy is imported
    names = ("seed", "data", "data_dir", "out")
    return {**{name: getattr(given, name) for name in names}, **overrides}


def _run(arguments: list[str], program: str) -> int:
    parser = _run_parser(program)
    given = parser.parse_intermixed_args(arguments)
    if given.list:
        print(catalogue.table(pathlib.Path(given.out)))
        return 0
    if given.help or not given.name:
        _help(parser, given.name)
        return 0 if given.help else 2
    options = _common_options(given)
    options |= {"plan": given.plan, "budget": given.budget, "fresh": given.fresh}
    if given.search is None:
        if given.trials is not None:
            raise UserError("--trials needs --search")
        from .experiments.running import run

        run(given.name, **options)
        return 0
    if given.search not in TUNERS:
        raise UserError(f"--search {given.search}: expected {', '.join(TUNERS)}")
    from .searching import search

    search(given.name, tuner=given.search, trials=given.trials, **options)
    return 0


def _check_gradients(arguments: list[str]) -> int:
    parser = _Parser(prog="kpipe check-gradients", allow_abbrev=False)
    _add_common(parser)
    parser.add_argument("--examples", type=_positive, default=3, metavar="N", help="default 3")
    parser.add_argument(
        "--samples", type=_positive, default=20, metavar="N", help="entries a variable, default 20"
    )
    given = parser.parse_intermixed_args(arguments)
    if not given.name:
        raise UserError(f"which pipeline? expected NAME; known: {', '.join(catalogue.names())}")
    options = _common_options(given)
    from .checking import check_gradients

    result = check_gradients(given.name, examples=given.examples, samples=given.samples, **options)
    return 0 if result.passed else 1


def _parse_overrides(words: list[str]) -> dict[str, str]:
    overrides = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.isidentifier() or not value:
            raise UserError(f"{word!r}: expected key=value")
        if key in overrides:
            raise UserError(f"{key} is given twice: {overrides[key]} and {value}")
        overrides[key] = value
    return overrides


def _help(parser: _Parser, name: str | None) -> None:
    if name is None:
        print(parser.format_help())
        print("pipelines:\n  " + "\n  ".join(catalogue.names()))
        return
    path = catalogue.find(name)
    print(catalogue.read(path).docstring)
    print("\nkeys, as key=value:\n")
    print(catalogue.align(_keys(path)))
    print()
    print(parser.format_help())


def _keys(path: pathlib.Path) -> list[tuple[str, ...]]:
    """The table of a pipeline's keys, from a cache: declaring them imports TensorFlow."""
    digest = hashlib.sha256()
    for file in (path, *sorted(catalogue.PACKAGE.rglob("*.py"))):
        digest.update(file.read_bytes())
    cached = files.home() / "help" / f"{path.stem}-{digest.hexdigest()[:16]}.json"
    try:
        return json.loads(cached.read_text())
    except (OSError, ValueError):
        from .experiments import keys, modules

        rows = keys.describe(modules.load(path)[0])
        files.make_folder(cached.parent)
        files.write_json(cached, rows)
        return rows


def _predict(arguments: list[str]) -> int:
    parser = _Parser(prog="kpipe predict")
    add = parser.add_argument
    add("folder", metavar="FOLDER", help="a run's folder, saved_models/NAME")
    add("files", nargs="*", metavar="FILE", help="images; UTF-8, a text a line; or CSV")
    add("--text", action="append", default=[], metavar="TEXT", help="a text; can be repeated")
    add("--json", action="store_true", help="one JSON object a line")
    add("--images", metavar="DIR", help="autoencoders only: save reconstructions to DIR")
    given = parser.parse_intermixed_args(arguments)
    if not pathlib.Path(given.folder).is_dir():
        raise UserError(f"{given.folder}: no such folder; expected a run's folder")
    missing = [path for path in given.files if not pathlib.Path(path).is_file()]
    if missing:
        raise UserError(f"{', '.join(missing)}: no such file")
    if not given.files and not given.text:
        raise UserError("nothing to predict; expected FILE ... or --text TEXT")
    from . import inputs, tasks
    from .export.loading import load

    folder = pathlib.Path(given.folder)
    model = load(folder)
    task = tasks.answering(folder, model.outputs)
    paths = [pathlib.Path(path) for path in given.files]
    if given.text and not model.takes_texts:
        raise UserError(f"--text: {folder} takes {model.input_spec.name}, no texts")
    if given.images and "reconstruction" not in model.outputs:
        raise UserError(f"--images: {folder} reconstructs no images; expected an autoencoder")
    names = [*given.text, *inputs.name_examples(paths, model.input_spec)]
    if not names:
        raise UserError(f"{', '.join(given.files)}: no lines; expected one text a line")
    outputs = model.predict(names) if model.takes_texts else model.predict_files(paths)
    written = _write_images(given.images, names, outputs) if given.images else {}
    kind = "text" if model.takes_texts else "file"
    for i, name in enumerate(names):
        words, content = task.answer(outputs, i, model.label_names)
        if given.json:
            image = {"image": written[i]} if written else {}
            print(json.dumps({kind: name, **content, **image}, ensure_ascii=False))
        else:
            print(f"{name}: {words}{f'  {written[i]}' if written else ''}")
    return 0


def _write_images(place: str, names: list[str], outputs: dict) -> dict[int, str]:
    """Writes the reconstruction of each file as a PNG file; their paths."""
    from .inputs.images import encode_png

    folder = pathlib.Path(place)
    files.make_folder(folder)
    written = {}
    for i, (name, image) in enumerate(zip(names, outputs["reconstruction"], strict=True)):
        path = folder / f"{i}-{pathlib.Path(name).stem}.png"
        files.write_bytes(path, encode_png(image))
        written[i] = str(path)
    return written


def _seed(text: str) -> int:
    if not text.isdigit() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"{text}: expected an integer from 0 to {2**31 - 1}")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected an integer from 1")
    return int(text)


def _seconds(text: str) -> float:
    """Seconds of 90s, 20m, 1h30m."""
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if not match or not any(match.groups()):
        raise argparse.ArgumentTypeError(f"{text}: expected a time such as 90s, 20m or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    total = 3600 * hours + 60 * minutes + seconds
    if not total:
        raise argparse.ArgumentTypeError(f"{text}: expected more than 0 seconds")
    return float(total)
