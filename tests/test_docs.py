"""Commands and names in the pages and in the pipelines' docstrings exist, and are understood."""

import ast
import configparser
import contextlib
import gc
import importlib
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
import types

import examples
import own_files
import pytest

from kpipe import (
    checking,
    cleaning,
    cli,
    comparing,
    diffing,
    extrapolating,
    label_checking,
    models,
    reproducing,
    searching,
    verifying,
)
from kpipe.errors import UserError
from kpipe.experiments import catalogue, following, launching, own, running
from kpipe.formats import converting

ROOT = examples.ROOT
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
PAGES.remove(ROOT / "CHANGELOG.md")  # it says what was
PIPELINES = [catalogue.find(name) for name in [*catalogue.names(), *catalogue.OWN_DATA]]
# The first words of a command.
COMMANDS = "git kpipe make pip pre-commit python ray source .venv/bin/python".split()
# Commands that need a finished run: their arguments are parsed.
USES = {name: f"kpipe.commands.{name}" for name in "predict serve export explain card".split()}
# What a reader puts in: a name of a pipeline.
PLACEHOLDERS = {"NAME": "mnist_mlp", "COMMAND": "mnist_mlp"}


def test_no_placeholder_is_left_in_the_docs():
    for path in PAGES:
        words = re.findall(r"^[A-Z_]{4,}$", path.read_text(), flags=re.M)
        assert not words, f"{path}: {words}"


def test_every_picture_of_the_docs_is_there_and_small():
    linked = set()
    for path in PAGES:
        for name in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", path.read_text()):
            file = path.parent / name
            assert file.is_file(), f"{path}: {name}"
            assert file.stat().st_size < 400_000, name
            linked.add(file)
    assert linked == set((ROOT / "docs" / "gallery").iterdir())


# --- commands ---------------------------------------------------------------------------------


def typed_in(path, folder):
    """The commands of a page: of its shell blocks, its words and its tables."""
    for language, line, code in examples.blocks(path):
        if language in ("", "sh") and code.split(maxsplit=1)[0] in [*COMMANDS, "for"]:
            yield from by_the_shell(code, f"{path.name}:{line}", folder)
    prose = examples.prose(path)
    for code in re.findall(r"`([^`]+)`", prose):
        words = code.split()
        if words[0] in COMMANDS and len(words) > 1:
            yield [PLACEHOLDERS.get(word, word) for word in shlex.split(code)]
    for command in in_tables(prose):
        yield ["kpipe", "run", *shlex.split(command)]


def by_the_shell(code, name, folder):
    """The commands that a shell would run, with loops, quotes and comments as it sees them."""
    # <this repository> is no file.
    code = re.sub(r"^git clone .*$", "", code, flags=re.M)
    functions = (f"{word}() {{ printf '%s\\037' {word} \"$@\"; echo; }}\n" for word in COMMANDS)
    functions = (text for text in functions if not text.startswith(("pre-", ".")))
    done = subprocess.run(
        [shutil.which("sh"), "-e", "-c", "".join(functions) + code],
        env={"PATH": ""},  # nothing else can be run
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{name}: {done.stderr}"
    return [line.split("\x1f")[:-1] for line in done.stdout.splitlines()]


def in_tables(text):
    """What follows `kpipe run` in tables: below the head `command`, or in place of its dots."""
    head = ""
    for line in text.split("\n"):
        cells = line.split("|")
        if len(cells) < 3:
            head = ""
        elif not head:
            head = cells[1].strip()
        elif head == "command" or "..." in head:
            for code in re.findall(r"`([^`]+)`", cells[1]):
                yield code if head == "command" else head.strip("`").replace("...", code)


def typed_in_docstring(path):
    """The commands of a pipeline's docstring."""
    lines = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")
    return [shlex.split(line, comments=True) for line in lines if line.startswith("    kpipe ")]


def build_once(builder):
    """The builder, which builds equal models once: most commands differ in something else."""

    def build(*arguments, **options):
        call = f"{builder.__name__} {arguments} {sorted(options.items())}"
        if call not in BUILT:
            BUILT[call] = builder(*arguments, **options)
        return BUILT[call]

    return build


BUILDERS = (
    "autoencoder bag_of_embeddings cnn joint_vae mlp recurrent resnet18 tabular transformer "
    "vae".split()
)
BUILT = {}


@pytest.fixture
def not_understood(monkeypatch, tmp_path, capsys):
    """Those of some commands that are not understood; none of them trains or installs anything."""

    def open_experiment(name=None, *, seed=0, plan=None, tuner=None, several=False, **options):
        if options.pop("continue_from", None):
            name = "mnist_mlp"
        others = "data data_dir out budget fresh trials examples samples".split()
        others += "seeds folds corrections to over repeats refit jobs cluster trial_budget".split()
        others += ["devices", "shards", "hosts", "precision", "profile"]
        keys = {key: value for key, value in options.items() if key not in others}
        # Resolves the keys as every command does.
        data = "auto" if own.is_data(name) or "my_photos" in name else "sample"
        running.open_experiment(
            name,
            keys,
            data=data,
            data_dir=None,
            seed=seed,
            plan=plan,
            several=several or bool(tuner),
        )
        return types.SimpleNamespace(passed=True, failed=False)

    def compare(name, **options):
        return None if isinstance(name, list) else open_experiment(name, several=True, **options)

    monkeypatch.setattr(running, "run", open_experiment)
    monkeypatch.setattr(comparing, "compare", compare)
    monkeypatch.setattr(searching, "search", open_experiment)
    monkeypatch.setattr(checking, "check_gradients", open_experiment)
    monkeypatch.setattr(extrapolating, "learning_curve", open_experiment)
    monkeypatch.setattr(label_checking, "check_labels", open_experiment)
    given_folders = ((verifying, "verify"), (reproducing, "reproduce"), (diffing, "diff"))
    for module, name in (*given_folders, (converting, "convert")):
        done = types.SimpleNamespace(passed=True, equal=True)
        monkeypatch.setattr(module, name, lambda *folders, done=done, **_: done)
    monkeypatch.setattr(launching, "connected", lambda *_: contextlib.nullcontext(True))
    monkeypatch.setattr(following, "train_along", lambda devices: None)
    monkeypatch.setattr(cleaning, "find", lambda out, data_dir: ([], []))
    (tmp_path / "saved_models").mkdir(exist_ok=True)  # of kpipe runs
    for name in cli.COMMANDS:
        command = importlib.import_module(f"kpipe.commands.{name.replace('-', '_')}")
        monkeypatch.setattr(command, "start", lambda verbose: None, raising=False)
        monkeypatch.setattr(command, "check_folder", lambda folder: None, raising=False)
    monkeypatch.setattr(models, "load_backbone", lambda model, weights: None)  # no such file here

    def pretrained(backbone, input_shape, num_classes, **options):  # no download here
        return models.cnn(input_shape, num_classes, filters=(4,), dense_units=0)

    monkeypatch.setattr(models, "pretrained", pretrained)
    monkeypatch.setattr(gc, "collect", lambda generation=2: 0)  # by Keras, before every model
    monkeypatch.setattr(  # those of ImageNet would be downloaded
        models, "pretrained", lambda backbone, shape, count, **options: models.cnn(shape, count)
    )
    for name in BUILDERS:
        monkeypatch.setattr(models, name, build_once(getattr(models, name)))
    (pipeline,) = (e for e in examples.of_page(ROOT / "README.md") if "build_trainer" in e.code)
    (tmp_path / "my_experiment.py").write_text(pipeline.code)
    own_files.write_all(tmp_path)
    monkeypatch.chdir(tmp_path)

    def not_understood(commands):
        unique = dict.fromkeys(map(tuple, commands))
        return [f"{shlex.join(c)}: {capsys.readouterr().err}" for c in unique if not exists([*c])]

    return not_understood


def exists(words):
    """Whether a command exists and is understood."""
    match words:
        case ["kpipe", command] if not command.startswith("-"):  # its name alone
            return f"kpipe {command} " in cli.HELP
        case ["kpipe", name, *arguments] if name in USES:
            try:
                return bool(importlib.import_module(USES[name]).parser().parse(arguments))
            except UserError as error:
                print(error, file=sys.stderr)
                return False
        case ["kpipe", *arguments]:
            return cli.main(arguments) == 0
        case ["python", "pipelines/run.py", *arguments]:
            assert (ROOT / "pipelines" / "run.py").is_file()
            return cli.main(["run", *arguments]) == 0
        case ["python", script, *options] if script.startswith(("tests/", "benchmarks/")):
            text = (ROOT / script).read_text() if (ROOT / script).is_file() else ""
            return bool(text) and all(f'"{word}"' in text for word in options if word[0] == "-")
        case ["make", *targets]:
            known = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M)
            return {target for target in targets if "=" not in target} <= set(known)
        case ["source", ".venv/bin/activate"]:
            return "-m venv .venv\n" in (ROOT / "Makefile").read_text()
        case [_, "-m", "pytest", "-m", marker]:
            return bool(re.search(rf"^{marker}:", setup()["tool:pytest"]["markers"], flags=re.M))
        case [_, "-m", module]:
            return importlib.util.find_spec(module) is not None
        case (
            ["pip", "install", "tensorflow[and-cuda]"] | ["git", "clone", *_] | ["ray", *_]
        ):  # not ours
            return True
        case ["pip", "install", "-e", what]:
            extras = re.fullmatch(r"\.(?:\[([\w,]+)\])?", what)[1]
            return set(extras.split(",") if extras else ()) <= {*setup()["options.extras_require"]}
        case ["pre-commit", "install"]:
            return (ROOT / ".pre-commit-config.yaml").is_file()
    return False  # no check for such a command


def setup():
    """The content of setup.cfg."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_command_of_a_page_is_understood(path, not_understood, tmp_path):
    assert not_understood(typed_in(path, tmp_path)) == []


def test_every_command_of_a_pipelines_docstring_is_understood(not_understood):
    commands = [words for path in PIPELINES for words in typed_in_docstring(path)]
    assert len(commands) > len(PIPELINES) and not_understood(commands) == []


@pytest.mark.parametrize(
    "line",
    [
        "kpipe run mnist_mpl",
        "kpipe run mnist_mlp learning_rat=0.1",
        "kpipe run mnist_mlp learning_rate=100",
        "kpipe run mnist_mlp units_4=100",
        "kpipe run mnist_mlp dropout=0.1,0.3",
        "kpipe run mnist_mlp --dat sample",
        "kpipe run mnist_mlp --search gird",
        "kpipe run imdb_sentiment architecture=transformer embedding_dim=63",
        "kpipe check-gradients mnist_mlp optimiser=adam",
        "kpipe predict saved_models/mnist_mlp --tex x",
        "kpipe predict --json",
        "kpipe explain saved_models/mnist_mlp --tagret 3",
        "kpipe train mnist_mlp",
        "kpipe train",
        "python pipelines/run.py mnist_mpl",
        "python tests/kill_loop.py --kill 300",
        "make tests",
        "pip install -e .[gpu]",
        ".venv/bin/python -m pytest -m slowest",
        "python -m kpipe.experiments.key_tables",
        "conda install kpipe",
    ],
)
def test_a_command_that_does_not_exist_is_found(line, not_understood):
    assert len(not_understood([["make", "test"], shlex.split(line)])) == 1


def test_commands_are_found_wherever_they_are_shown(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "Type `kpipe run gmm`, or\n\n"
        "    for n in 1 2; do\n        kpipe run gmm num_layers=$n  # both\n    done\n\n"
        "```\ngit clone <this> kpipe && cd kpipe\nmake run\n```\n\n"
        "```\ntext -> tokens\n```\n\n"
        "| command | n |\n|---|---|\n| `peaks recipe=wide` | 1 |\n\n"
        "| `gmm epochs=1 ...` | n |\n|---|---|\n| the default: `optimizer=sgd` | 1 |\n"
    )
    assert [" ".join(words) for words in typed_in(page, tmp_path)] == [
        "kpipe run gmm num_layers=1",
        "kpipe run gmm num_layers=2",
        "make run",
        "kpipe run gmm",
        "kpipe run peaks recipe=wide",
        "kpipe run gmm epochs=1 optimizer=sgd",
    ]
