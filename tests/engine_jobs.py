"""Functions that tests hand to engines: without TensorFlow, so that a process starts at once."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

from kpipe import errors


def add(a, b):
    return a + b


def settings(names):
    """Returns the variables of these names, and whether TensorFlow was imported."""
    return {name: os.environ.get(name) for name in names}, "tensorflow" in sys.modules


def shout(text):
    """Prints from Python, at the descriptors and in a child process."""
    print(text, "out")
    print(text, "err", file=sys.stderr)
    os.write(1, f"{text} descriptor 1\n".encode())
    os.write(2, f"{text} descriptor 2\n".encode())
    subprocess.run([sys.executable, "-IS", "-c", f"print('{text} child')"], check=True)


def fail(name, text):
    raise getattr(errors, name)(text)


def misspell():
    return undefined_name  # noqa: F821


def leave(code):
    sys.exit(code)


def return_what_cannot_be_pickled():
    return lambda: None


def die(folder, times, number=signal.SIGKILL):
    """Kills its process, the first so many times; then returns how often it was called."""
    calls = pathlib.Path(folder, f"calls-{os.getpid()}")
    calls.touch()
    count = len(list(pathlib.Path(folder).glob("calls-*")))
    if count <= times:
        os.kill(os.getpid(), number)
        time.sleep(60)
    return count


def wait_for(path, seconds=20):
    """Waits until a file exists."""
    end = time.monotonic() + seconds
    while not pathlib.Path(path).exists():
        assert time.monotonic() < end, path
        time.sleep(0.01)
    return os.getpid()


def sleep(folder, name):
    """Says that it runs, then sleeps; says so if it was ended in an orderly way."""
    folder = pathlib.Path(folder)
    child = subprocess.Popen(["sleep", "600"])
    part = folder / f"{name}.part"
    part.write_text(f"{os.getpid()} {child.pid}")
    part.rename(folder / f"{name}.pid")
    try:
        time.sleep(600)
    except SystemExit:
        (folder / f"{name}.stopped").touch()
        raise


def misuse_json():
    return json.loads("{")


def disappear(folder, times, number):
    """Ends its process as a crashing library does, without a word."""
    pathlib.Path(folder, f"calls-{os.getpid()}").touch()
    os._exit(7)


def refuse_to_end(folder):
    """Neither ends on SIGTERM nor lets its exception pass."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    part = pathlib.Path(folder, "part")
    part.write_text(str(os.getpid()))
    part.rename(pathlib.Path(folder, "pid"))
    time.sleep(600)
