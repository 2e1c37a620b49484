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
    Parser,
    add_corrections,
    add_pipeline,
    add_verbose,
    check_folder,
    common_options,
    find_pipeline,
    own_overrides,
    parse_overrides,
    positive,
    seconds,
    start,
    width,
)

TUNERS = ("random", "bayesian", "hyperband", "grid")
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
    if given.seeds is not None and not given.learning_curve:
        raise UserError("--seeds needs --learning-curve; --seed N chooses the seed of a run")
    if given.search is not None and given.learning_curve:
        raise UserError(
            "--search and --learning-curve: give one; the curve of the best trial is kpipe run "
            "NAME --learning-curve with its key=value"
        )
    if given.corrections is not None:
        if given.search is not None or given.learning_curve:
            raise UserError("--corrections is for a run, without --search and --learning-curve")
        options["corrections"] = given.corrections
    divided = given.devices or given.shards or given.hosts
    if divided and (given.search is not None or given.learning_curve):
        raise UserError("--devices, --shards and --hosts are for one run; leave out --search")
    if given.host_index and not given.hosts:
        raise UserError("--host-index needs --hosts A,B: the machines, in the same order on each")
    if given.search is None:
        if given.trials is not None:
            raise UserError("--trials needs --search")
        if given.learning_curve:
            start(given.verbose)
            from ..extrapolating import learning_curve

            learning_curve(given.name, seeds=given.seeds or 1, **options)
            return 0
        start(given.verbose)
        hosts = given.hosts.split(",") if given.hosts else []
        if given.host_index:
            from ..experiments.following import train_along
            from ..experiments.launching import connected

            with connected(given.devices, given.shards, hosts, given.host_index) as devices:
                assert devices
                train_along(devices)
            return 0
        from ..experiments.running import run

        if divided:
            options |= {"devices": given.devices, "shards": given.shards, "hosts": hosts}
        run(given.name, **options)
        return 0
    if given.search not in TUNERS:
        raise UserError(f"--search {given.search}: expected {', '.join(TUNERS)}")
    start(given.verbose)
    from ..searching import search

    search(given.name, tuner=given.search, trials=given.trials, **options)
    return 0


def _continue(parser: Parser, given: argparse.Namespace) -> int:
    """Continues a finished run; what it was run with is not given again."""
    own = "name seed data plan search trials learning_curve seeds corrections skip_bad".split()
    own += ["shards", "hosts", "host_index"]
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
    add("--budget", type=seconds, metavar="TIME", help="stop training after 90s, 20m, 1h30m, ...")
    add("--fresh", action="store_true", help="start over; an existing run is renamed and kept")
    add(
        "--continue",
        dest="continue_from",
        metavar="RUN",
        help="continue a finished run up to epochs=N from its exact state, in a new folder; RUN is "
        "its folder, NAME is left out",
    )
    add(
        "--search",
        metavar="TUNER",
        help=f"search over the keys, then run the best: {', '.join(TUNERS)}",
    )
    add("--trials", type=positive, metavar="N", help="number of trials of a search (default 10)")
    add(
        "--learning-curve",
        action="store_true",
        help="also train on 10, 25 and 50 %% of the training examples, and say what twice the data "
        "would bring",
    )
    add("--seeds", type=positive, metavar="N", help="seeds of a learning curve (default 1)")
    add(
        "--plan",
        metavar="PLAN",
        help="graph: one training step per call; fused:K: K steps; default: chosen by a fixed rule",
    )
    add(
        "--devices",
        metavar="N",
        help="train on N devices, a process each, which divide every batch; all: every GPU",
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
        help="train on several machines, each as HOST or HOST:PORT; the same command on each",
    )
    add("--host-index", type=int, default=0, metavar="I", help="which of them this is, from 0")
    add("--list", action="store_true", help="list the pipelines with their last results in --out")
    add_corrections(parser)
    add_verbose(parser)
    add("-h", "--help", action="store_true", help="show this help, or that of pipeline NAME")
    return parser


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
