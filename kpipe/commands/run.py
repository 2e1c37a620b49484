"""`kpipe run`: trains a pipeline, or a network on a user's own data."""

import argparse
import pathlib
import sys
import textwrap
from typing import Any

from .. import files
from ..disk import refuse_same_command
from ..errors import UserError
from ..experiments import catalogue, key_table
from .parsing import (
    Group,
    Parser,
    add_corrections,
    add_pipeline,
    add_to,
    add_verbose,
    check_folder,
    common_options,
    find_pipeline,
    index,
    own_overrides,
    parse_overrides,
    positive,
    seconds,
    start,
    width,
)

TUNERS = ("random", "bayesian", "hyperband", "grid")
# What a run can be part of, and the options that are for that alone.
WAYS: dict[str, tuple[str, ...]] = {
    "search": ("trials", "over", "folds", "repeats", "refit", "trial_budget", "jobs", "cluster"),
    "learning_curve": ("seeds",),
    "compare": ("seeds", "to", "jobs", "cluster"),
    "run": ("corrections", "precision", "profile", "devices", "shards", "hosts", "host_index"),
}
RUN = (
    "Train a pipeline, or a network on your own folder of images or file; evaluate it on the test "
    "split, export it, verify the export and write a report, all in saved_models/NAME. The same "
    "command resumes an interrupted run."
)


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit code."""
    parser = _run_parser()
    given = parser.parse(arguments)
    if given.list:
        print(catalogue.table(pathlib.Path(given.out), width()))
        return 0
    if given.scoreboard:
        start(given.verbose)
        from ..experiments.scoreboard import scoreboard

        print(scoreboard(pathlib.Path(given.out), width()))
        return 0
    if given.help and given.name:
        if given.name in catalogue.OWN_DATA:  # has keys, also without data
            _describe(catalogue.find(given.name), given.verbose)
        else:
            _describe(find_pipeline(given.name, own_overrides(given)), given.verbose)
        return 0
    if given.help or not (given.name or given.continue_from):
        print(f"{parser.format_help()}\npipelines:")
        print(textwrap.indent(textwrap.fill(", ".join(catalogue.names()), width() - 2), "  "))
        return 0 if given.help else 2
    if given.continue_from is not None:
        return _continue(parser, given)
    options = common_options(parser, given)
    options |= {"plan": given.plan, "budget": given.budget, "fresh": given.fresh}
    way = _way(given)
    options |= {name: getattr(given, name) for name in WAYS[way] if _is_given(given, name)}
    if way == "search" and given.search not in TUNERS:
        raise UserError(f"--search {given.search}: expected {', '.join(TUNERS)}")
    several = [f"{k}={v}" for k, v in own_overrides(given).items() if "," in str(v)]
    if way == "compare" and not given.compare and several:
        raise UserError(f"--seeds and {several[0]}: add --compare, or --search TUNER")
    start(given.verbose)
    if way == "search":
        from ..searching import search

        search(given.name, tuner=given.search, **options)
    elif way == "learning_curve":
        from ..extrapolating import learning_curve

        learning_curve(given.name, **options)
    elif way == "compare":
        from ..comparing import compare

        return int(compare(given.name, **options).failed)
    else:
        return _run(given.name, **options)
    return 0


def _run(name: str, hosts: str | None = None, host_index: int | None = None, **options: Any) -> int:
    """Trains; on another machine than the first one along with that."""
    if host_index is not None and hosts is None:
        raise UserError("--host-index needs --hosts A,B: the machines, in the same order on each")
    machines = hosts.split(",") if hosts else []
    if host_index:
        from ..experiments.following import train_along
        from ..experiments.launching import connected

        count, shards = options.get("devices"), options.get("shards")
        with connected(count, shards, machines, host_index) as devices:
            assert devices
            train_along(devices)
        return 0
    from ..experiments.running import run

    run(name, hosts=machines, **options)
    return 0


def _way(given: argparse.Namespace) -> str:
    """Returns the name in `WAYS` of what is asked for; refuses options of the other ways."""
    asked = [way for way in WAYS if way != "run" and _is_given(given, way)]
    if len(asked) > 1:
        raise UserError(f"{_option(asked[0])} and {_option(asked[1])}: give one")
    way = asked[0] if asked else "compare" if given.seeds else "run"
    for name in dict.fromkeys(name for names in WAYS.values() for name in names):
        if _is_given(given, name) and name not in WAYS[way]:
            if way != "run":
                raise UserError(f"{_option(name)} and {_option(way)}: give one")
            takes = [_option(other) for other in WAYS if name in WAYS[other]]
            takes += ["--seeds"] * (name in WAYS["compare"])
            raise UserError(f"{_option(name)} needs {' or '.join(takes)}")
    return way


def _is_given(given: argparse.Namespace, name: str) -> bool:
    return getattr(given, name) is not None and getattr(given, name) is not False


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _continue(parser: Parser, given: argparse.Namespace) -> int:
    """Continues a finished run; what it was run with is not given again."""
    own = ["name", "seed", "data", "plan", "skip_bad", *WAYS, *sum(WAYS.values(), ())]
    own = [name for name in own if name not in ("run", "devices")]
    if given.name and "=" in given.name:  # the first word, which is no name here
        given.overrides, given.name = [given.name, *given.overrides], None
    for option in own:
        if getattr(given, option) != parser.get_default(option):
            value = given.name or f"--{option.replace('_', '-')}"
            raise UserError(
                f"{value}: --continue RUN goes on with what RUN is; expected only key=value, such "
                "as epochs=60"
            )
    options: dict[str, Any] = dict(parse_overrides(given.overrides))
    check_folder(given.continue_from)
    files.home()
    refuse_same_command(pathlib.Path(given.out))
    start(given.verbose)
    from ..experiments.running import run

    names = ("continue_from", "data_dir", "out", "budget", "fresh", "devices")
    run(**{name: getattr(given, name) for name in names}, **options)
    return 0


def _run_parser() -> Parser:
    parser = Parser("kpipe run", "NAME_OR_DATA [key=value ...]", RUN)
    add_pipeline(parser)
    add = parser.add_argument
    add(
        "--budget",
        type=seconds,
        metavar="TIME",
        help="stop training, or a search, after 90s, 20m, 1h30m, ...",
    )
    add("--fresh", action="store_true", help="start over; an existing run is renamed and kept")
    add(
        "--continue",
        dest="continue_from",
        metavar="RUN",
        help="continue a finished run up to epochs=N from its exact state, in a new folder; RUN is "
        "its folder, NAME is left out",
    )
    add(
        "--profile",
        action="store_true",
        help="first measure where the time of a training step goes, and write a trace for "
        "TensorBoard into logs/",
    )
    add(
        "--precision",
        metavar="POLICY",
        help="float32, or mixed_bfloat16: layers compute with 8 bits of precision; the exported "
        "model computes in float32 in any case",
    )
    add(
        "--plan",
        metavar="PLAN",
        help="how steps are computed: graph, as in Keras; kernels, faster; fused:K, K steps in one "
        "program; auto, the fastest on the first batches; default: chosen by a fixed rule",
    )
    add("--list", action="store_true", help="list the pipelines with their last results in --out")
    add(
        "--scoreboard",
        action="store_true",
        help="list the results of all runs in --out, over their seeds, beside the highest known",
    )
    add_corrections(parser)
    add_verbose(parser)
    add("-h", "--help", action="store_true", help="show this help, or that of pipeline NAME")
    _add_search(parser.add_argument_group("search"))
    _add_comparison(parser.add_argument_group("comparison, seeds, learning curve"))
    _add_places(parser.add_argument_group("several processes, devices, machines"))
    return parser


def _add_search(group: Group) -> None:
    add = group.add_argument
    add(
        "--search",
        metavar="TUNER",
        help=f"search over the keys, then run the best: {', '.join(TUNERS)}",
    )
    add(
        "--trials",
        type=positive,
        metavar="N",
        help="number of trials (default 10; of a grid all); it can be raised later",
    )
    add("--over", metavar="KEYS", help="search over these keys only, such as learning_rate,units_1")
    add("--folds", type=positive, metavar="K", help="train each trial K times, on K folds")
    add("--repeats", type=positive, metavar="N", help="train each trial with N seeds")
    add(
        "--refit",
        metavar="HOW",
        help="the run of the best trial: best (its weights), retrain (again on train), train+val",
    )
    add("--trial-budget", type=seconds, metavar="TIME", help="stop each training after 20m, ...")


def _add_comparison(group: Group) -> None:
    add = group.add_argument
    add(
        "--compare",
        action="store_true",
        help="run each combination of the keys with several values, optimizer=sgd,adam, and say "
        "which can be told apart",
    )
    add(
        "--seeds",
        type=positive,
        metavar="N",
        help="run N seeds, from --seed on, of a comparison, a learning curve (default 1), or alone",
    )
    add_to(group)
    add(
        "--learning-curve",
        action="store_true",
        help="also train on 10, 25 and 50 %% of the training examples, and say what twice the data "
        "would bring",
    )


def _add_places(group: Group) -> None:
    add = group.add_argument
    add(
        "--jobs",
        type=positive,
        metavar="N",
        help="search, compare: train in N processes, which divide processors and GPUs",
    )
    add(
        "--cluster",
        metavar="ADDRESS",
        help="search, compare: train on a Ray cluster: auto, HOST:PORT or ray://HOST:PORT (needs "
        "kpipe[cluster])",
    )
    add(
        "--devices",
        metavar="N",
        help="one run on N devices, a process each, which divide every batch; all: every GPU",
    )
    add(
        "--shards",
        type=positive,
        metavar="N",
        help="parts of a batch (default: the devices of all hosts); any number of devices that "
        "divides it computes the same bits",
    )
    add(
        "--hosts",
        metavar="A,B",
        help="one run on several machines, HOST or HOST:PORT each; the same command on each",
    )
    add("--host-index", type=index, metavar="I", help="which of them this is, from 0")


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
        start(verbose)
        rows = key_table.declare(path)
    rows = [[cell.replace("|", " or ") for cell in row] for row in rows]
    print(catalogue.align(rows, width()))
    print("\nkpipe run --help shows the options, such as --data, --seed and --search.")
