"""A new version is served once it is sound; nothing else takes the place of the one before."""

import gc
import shutil
import threading
import time
import weakref

import hostile
import numpy as np
import pytest
import served

from kpipe.errors import UserError
from kpipe.serving import Server

PATH = "/v1/models/array:predict"
ONE = {"instances": [[1, 0]]}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folders of versions: number -> a model that answers twice that number."""
    out = tmp_path_factory.mktemp("made")
    for number in (1, 2, 3):
        served.write(out / str(number), "array", number, scale=number)
    served.write(out / "nan", "array", 9, scale=np.nan)
    return out


@pytest.fixture
def run(tmp_path, made):
    """A run's folder with version 1."""
    shutil.copytree(made / "1", tmp_path / "array")
    return tmp_path / "array"


@pytest.fixture
def lines():
    return []


@pytest.fixture
def client(run, lines):
    with served.Client(served.server_of({"array": run}, lines.append)) as client:
        yield client


def add(run, made, number, name=None):
    """Adds a version by renaming, as kpipe does."""
    source = made / str(name or number) / "serving"
    temporary = run / ".part"
    shutil.copytree(source / str(9 if name == "nan" else number), temporary)
    temporary.rename(run / "serving" / str(number))


def look(client, times=2):
    """Looks for versions: one is loaded when it has not changed since the last look."""
    for _ in range(times):
        client.server.models["array"].update()


def answers(client, version=None):
    path = f"/v1/models/array/versions/{version}:predict" if version else PATH
    answer = client.post(path, json=ONE)
    return answer.json()["predictions"][0] if answer.status_code == 200 else answer.status_code


def states(client):
    found = client.get("/v1/models/array").json()["model_version_status"]
    return {
        int(each["version"]): (each["state"], each["status"]["error_message"]) for each in found
    }


def test_a_new_version_answers_and_the_one_before_by_its_number(client, run, made, lines):
    assert answers(client) == 2
    add(run, made, 2)
    look(client, 1)
    assert answers(client) == 2  # it may be being copied
    look(client, 1)
    assert [answers(client), answers(client, 2), answers(client, 1)] == [4, 4, 2]
    assert states(client) == {2: ("AVAILABLE", ""), 1: ("AVAILABLE", "")}
    add(run, made, 3)
    look(client)
    assert [answers(client), answers(client, 2), answers(client, 1)] == [6, 4, 404]
    assert lines == [
        "array: version 1 is served: array 2 -> value",
        "array: version 2 is served: array 2 -> value",
        "array: version 3 is served: array 2 -> value",
        "array: version 1 is not served any more",
    ]


def test_no_request_is_lost_and_the_old_version_is_freed(run, made):
    server = served.server_of({"array": run}, keep=1)
    old = weakref.ref(server.models["array"].latest)
    found, stop = [], threading.Event()
    with served.Client(server) as client:

        def ask():
            while not stop.is_set():
                found.append(answers(client))

        clients = [threading.Thread(target=ask) for _ in range(4)]
        for thread in clients:
            thread.start()
        for number in (2, 3):
            add(run, made, number)
            look(client)
            seen = len(found)
            while len(found) < seen + 20:
                time.sleep(0.01)
        stop.set()
        for thread in clients:
            thread.join()
        assert set(found) == {2, 4, 6} and found[-1] == 6
        assert [answers(client, version) for version in (1, 2, 3)] == [404, 404, 6]
    gc.collect()
    assert old() is None


def damage(folder):
    path = folder / "variables" / "variables.index"
    path.write_bytes(path.read_bytes()[:-1])


def cut(folder):
    (folder / "saved_model.pb").unlink()


def forbid(folder):
    (folder / "manifest.json").unlink()
    canary = folder.parent / "canary"
    name = next(name for name in hostile.EDITS if "write" in name)
    hostile.make_edited(name, folder, folder.with_name("edited"), canary)
    shutil.rmtree(folder)
    folder.with_name("edited").rename(folder)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (damage, "is damaged or changed, according to manifest.json"),
        (cut, "contains no SavedModel"),
        (forbid, "refused before loading"),
    ],
)
def test_a_version_that_is_not_sound_is_refused_once_and_the_old_one_goes_on(
    client, run, made, lines, change, error
):
    add(run, made, 2)
    change(run / "serving" / "2")
    look(client, 5)
    assert answers(client) == 2 and answers(client, 2) == 404
    state, message = states(client)[2]
    assert state == "END" and error in message and states(client)[1][0] == "AVAILABLE"
    refused = [line for line in lines if "refused:" in line]
    assert len(refused) == 1 and error in refused[0]
    assert 'kpipe_refused_versions{model="array"} 1.0' in client.get("/metrics").text
    shutil.rmtree(run / "serving" / "2")
    add(run, made, 2)
    look(client)
    assert answers(client) == 4 and states(client)[2] == ("AVAILABLE", "")


def test_a_version_that_answers_nan_is_refused(client, run, made):
    add(run, made, 2, "nan")
    look(client)
    assert answers(client) == 2
    assert "value contains NaN or infinity for an ordinary example" in states(client)[2][1]


def test_a_version_that_is_being_copied_is_served_when_it_is_whole(client, run, made, lines):
    source, target = made / "2" / "serving" / "2", run / "serving" / "2"
    target.mkdir()
    for path in sorted(source.rglob("*")):
        look(client, 1)
        copy = target / path.relative_to(source)
        copy.mkdir() if path.is_dir() else shutil.copyfile(path, copy)
        assert answers(client) == 2
    look(client)
    assert answers(client) == 4
    assert not [line for line in lines if "refused" in line]  # it changed at every look


def test_what_vanishes_is_served_until_something_else_is_there(client, run, made):
    add(run, made, 2)
    look(client)
    shutil.move(run / "serving", run / "away")
    look(client)
    assert answers(client) == 4 and answers(client, 1) == 2
    (run / "serving").mkdir()
    add(run, made, 1)
    look(client)
    assert answers(client) == 2 and answers(client, 2) == 404  # back to the one before


def test_a_version_that_is_replaced_is_loaded_again_and_a_damaged_one_is_not(client, run, made):
    shutil.rmtree(run / "serving" / "1")
    shutil.copytree(made / "3" / "serving" / "3", run / "serving" / "1")
    look(client)
    assert answers(client) == 6
    damage(run / "serving" / "1")
    look(client)
    assert answers(client) == 6 and states(client) == {1: ("AVAILABLE", "")}


def test_names_that_are_no_versions_are_not_looked_at(client, run):
    for name in ("01", "x", ".2.part-1", "-3"):
        (run / "serving" / name).mkdir()
    look(client)
    assert list(states(client)) == [1]


def test_a_savedmodel_without_a_run_is_version_1(run, tmp_path):
    folder = shutil.copytree(run / "serving" / "1", tmp_path / "alone")
    with served.Client(served.server_of({"array": folder})) as client:
        assert answers(client) == 2 and answers(client, 1) == 2


def test_the_metric_is_that_of_the_version_that_was_measured(finished_run, tmp_path):
    run = shutil.copytree(finished_run.folder, tmp_path / "digits")
    shutil.copytree(run / "serving" / "1", run / "serving" / "2")
    with served.Client(served.server_of({"digits": run})) as client:
        of_latest = client.get("/v1/models/digits/about").json()
        of_first = client.get("/v1/models/digits/versions/1/about").json()
    assert of_latest["version"] == 2 and of_latest["headline"] is None
    assert of_first["headline"]["name"] == "accuracy" and of_first["versions"] == [1, 2]


def test_loading_fails_if_nothing_can_be_served(tmp_path, run):
    (tmp_path / "empty").mkdir()
    damage(run / "serving" / "1")
    for folder, error in ((tmp_path / "empty", "no serving/1"), (run, "is damaged or changed")):
        server = Server({"name": folder}, say=lambda line: None)
        with served.Client(server) as client, pytest.raises(UserError, match=error):
            client.run(server.load())


def test_the_server_looks_by_itself_and_goes_on_after_an_error(client, run, made, lines):
    server = client.server
    server._poll = 0.01
    model, update, fails = server.models["array"], server.models["array"].update, [True, True]

    def failing():
        if fails:
            fails.pop()
            raise OSError("no such disk")
        update()

    model.update = failing
    add(run, made, 2)
    server.tasks = []

    async def watch():
        import asyncio

        server.tasks.append(asyncio.create_task(server.watch()))

    client.run(watch())
    deadline = time.monotonic() + 20
    while answers(client) != 4:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    client._loop.call_soon_threadsafe(server.tasks[0].cancel)
    assert "array: no look for versions (no such disk)" in lines


def test_memory_does_not_grow_with_the_number_of_versions(run, made):
    """Weak: that of TensorFlow is looked at by benchmarks; here, no version is left behind."""
    server = served.server_of({"array": run}, keep=1)
    kept = []
    for number in range(2, 8):
        shutil.copytree(made / "2" / "serving" / "2", run / "serving" / str(number))
        server.models["array"].update()
        server.models["array"].update()
        kept.append(weakref.ref(server.models["array"].latest))
    gc.collect()
    assert [reference() is not None for reference in kept] == [False] * 5 + [True]
    server.close()
