"""Requests of several clients are computed together, and each is answered as if it were alone."""

import asyncio
import base64
import concurrent.futures
import io
import re
import threading
import time

import numpy as np
import pytest
import served

from kpipe.export import read_npz


def batches(client):
    """Number of batches, and of their examples, so far."""
    text = client.get("/metrics").text
    return [
        int(float(re.search(rf"^kpipe_batch_examples_{what} (\S+)", text, re.M)[1]))
        for what in ("count", "sum")
    ]


@pytest.fixture(scope="module")
def folders(tmp_path_factory, finished_run):
    out = tmp_path_factory.mktemp("batches")
    kinds = {kind: served.write(out / kind, kind) for kind in ("text", "array")}
    return {"digits": finished_run.folder, **kinds}


@pytest.fixture
def client(folders):
    small = {name: folders[name] for name in ("text", "array")}
    with served.Client(served.server_of(small, queue=100)) as client:
        yield client


@pytest.fixture
def held(client):
    """Holds the computing threads' next call of "array" until it is set; they wait in `begun`."""
    held, begun = threading.Event(), threading.Event()
    batcher = client.server.models["array"].latest.batcher
    function = batcher._functions["serving_default"]

    def slow(**arguments):
        begun.set()
        assert held.wait(30)
        return function(**arguments)

    batcher._functions = {"serving_default": slow}
    held.begun = begun
    yield held
    held.set()


def test_answers_equal_those_of_single_requests_to_rounding(folders):
    images = read_npz(folders["digits"] / "golden.npz")["array0"][:40]
    path, contents = "/v1/models/digits:predict", [{"instances": [i]} for i in images.tolist()]
    with served.Client(served.server_of({"digits": folders["digits"]})) as client:
        single = [client.post(path, json=content).json() for content in contents]
        before = batches(client)
        together = client.post_all(path, contents)
        number, examples = np.subtract(batches(client), before)
    assert examples == 40 and number <= 20  # two would do, but the machine may be busy
    for alone, answer in zip(single, together, strict=True):
        (one,), (other,) = alone["predictions"], answer.json()["predictions"]
        assert one["label"] == other["label"]
        np.testing.assert_allclose(one["probabilities"], other["probabilities"], atol=1e-6)


def test_requests_with_and_without_rows_and_of_several_examples_are_told_apart(client):
    contents = [{"instances": [[i, 0]] * (1 + i % 3)} for i in range(20)]
    contents += [{"inputs": {"features": [[i, 1], [i, 2]]}} for i in range(20)]
    answers = [answer.json() for answer in client.post_all("/v1/models/array:predict", contents)]
    for i in range(20):
        assert answers[i] == {"predictions": [2.0 * i] * (1 + i % 3)}
        assert answers[20 + i] == {"outputs": [2.0 * i + 2, 2.0 * i + 4]}


def test_tokens_of_other_lengths_are_not_concatenated(client):
    contents = [
        {"signature_name": "serving_tokens", "instances": [[0, 19] * (1 + i)]} for i in range(6)
    ]
    for answer in client.post_all("/v1/models/text:predict", contents):
        assert answer.json()["predictions"][0]["probabilities"] == [0.5, 0.5]


def test_a_wrong_request_changes_no_other(client):
    contents = [{"signature_name": "serving_tokens", "instances": [[1, i]]} for i in range(12)]
    contents[5]["instances"] = [[1, 1], [1, served.VOCABULARY]]  # cannot be looked up
    answers = client.post_all("/v1/models/text:predict", contents)
    assert [answer.status_code for answer in answers] == [200] * 5 + [400] + [200] * 6
    assert answers[5].json()["error"].startswith("instances[1]: the model cannot process it")
    contents = [{"instances": [[i, 0]]} for i in range(12)]
    contents[7]["instances"] = [[0, 0], [3e38, 3e38]]
    answers = client.post_all("/v1/models/array:predict", contents)
    assert [answer.status_code for answer in answers] == [200] * 7 + [400] + [200] * 4
    assert answers[7].json()["error"].startswith("instances[1]: the model's value contains NaN")


def test_a_batch_has_at_most_64_examples(client, held):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.post, "/v1/models/array:predict", json={"instances": [[1, 1]]})
        assert held.begun.wait(30)
        contents = [{"instances": [[1, 1]] * 30}] * 3
        others = pool.submit(client.post_all, "/v1/models/array:predict", contents)
        while client.server.queue.count < 91:
            time.sleep(0.001)
        held.set()
        assert first.result().status_code == 200
        assert {answer.status_code for answer in others.result()} == {200}
    assert batches(client) == [3, 91]  # 1, 60 and 30


def test_a_single_client_never_waits_for_others(folders):
    with served.Client(served.server_of({"array": folders["array"]}, wait=20.0)) as client:
        for _ in range(3):
            answer = client.post("/v1/models/array:predict", json={"instances": [[1, 1]]})
            assert answer.elapsed.total_seconds() < 10


def test_what_would_wait_too_long_is_refused_at_once(client, held):
    path, content = "/v1/models/array:predict", {"instances": [[1, 1]] * 60}
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, path, json=content)
        assert held.begun.wait(30)
        full = client.post(path, json=content)
        assert (full.status_code, full.headers["retry-after"]) == (503, "1")
        assert full.json() == {"error": "60 examples are waiting; try again later"}
        held.set()
        assert first.result().status_code == 200
    assert client.post(path, json=content).status_code == 200  # there is room again


def test_a_request_is_given_up_at_its_deadline_and_the_next_is_answered(folders):
    server = served.server_of({"array": folders["array"]}, deadline=0.6)
    batcher = server.models["array"].latest.batcher
    function, gone = batcher._functions["serving_default"], threading.Event()

    begun = threading.Event()

    def slow(**arguments):
        begun.set()
        gone.wait(30)
        return function(**arguments)

    batcher._functions = {"serving_default": slow}
    with served.Client(server) as client:
        path, content = "/v1/models/array:predict", {"instances": [[1, 1]]}
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            first = pool.submit(client.post, path, json=content)
            assert begun.wait(30)
            posted = pool.submit(client.post_all, path, [content] * 2)
            while server.queue.count < 3:
                time.sleep(0.001)
            assert server.body_bytes == 3 * len(
                '{"instances":[[1,1]]}'
            )  # held until it is computed
            answers = [first.result(), *posted.result()]
        (lane,) = batcher._lanes.values()
        assert not lane._waiting and server.body_bytes == 0  # what nobody waits for takes no memory
        assert {answer.status_code for answer in answers} == {504}
        assert answers[0].json() == {"error": "no answer within 0.6 seconds"}
        assert server.queue.count == 0
        gone.set()
        deadline = time.monotonic() + 10
        while client.post(path, json=content).status_code != 200:
            assert time.monotonic() < deadline


def test_a_request_that_became_large_waits_within_the_limit_of_all(folders):
    """A small file may become a PNG of many megabytes."""
    with served.Client(
        served.server_of({"array": folders["array"]}, body=600, bodies=600)
    ) as client:
        content = b'{"instances": [' + b",".join([b"[1,1]"] * 64) + b"]}"  # 512 bytes as float32
        assert client.post("/v1/models/array:predict", content=content).status_code == 200
        client.server.body_bytes += 600 - len(content)
        assert client.post("/v1/models/array:predict", content=content).status_code == 503
        assert client.server.body_bytes == 600 - len(content)


def test_what_is_given_up_before_it_began_is_held_no_longer(folders):
    """A pool keeps what was cancelled until a thread is free."""
    server, gone, held = served.server_of({"array": folders["array"]}), threading.Event(), set()

    class Work:
        def __init__(self):
            held.add(id(self))

        def __call__(self):
            gone.wait(30)

        def __del__(self):
            held.discard(id(self))

    with served.Client(server) as client:

        async def give_up():
            tasks = [asyncio.create_task(server.convert(True, Work())) for _ in range(9)]
            await asyncio.wait(tasks, timeout=0.1)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

        client.run(give_up())
        assert len(held) <= 2  # which are being computed
        gone.set()


def test_an_error_of_the_server_is_a_500_in_one_line_and_described_in_its_log(client, capfd):
    batcher = client.server.models["array"].latest.batcher
    batcher._functions = {}
    answer = client.post("/v1/models/array:predict", json={"instances": [[1, 1]]})
    assert answer.status_code == 500
    assert answer.json() == {"error": "an error of the server, described in its log"}
    assert "KeyError" in capfd.readouterr().err
    assert 'kpipe_errors_total{kind="internal"} 1.0' in client.get("/metrics").text


def test_large_images_are_decoded_few_at_a_time(folders):
    """A decoded image of 25 megapixels takes 300 MB while it is resized."""
    from PIL import Image

    written = io.BytesIO()
    Image.fromarray(np.zeros((30, 30), np.uint8)).save(written, "PNG")
    image = {"b64": base64.b64encode(written.getvalue()).decode()}
    server = served.server_of({"digits": folders["digits"]}, pixels=1000)
    batcher, calls = server.models["digits"].latest.batcher, []
    function = batcher._functions["serving_bytes"]

    def counted(bytes):
        calls.append(len(bytes))
        return function(bytes=bytes)

    batcher._functions = {"serving_bytes": counted}
    with served.Client(server) as client:
        content = {"signature_name": "serving_bytes", "instances": [image] * 4}
        answer = client.post("/v1/models/digits:predict", json=content)
    assert len(answer.json()["predictions"]) == 4 and calls == [1, 1, 1, 1]


def test_large_bodies_are_limited_together(folders):
    server = served.server_of({"array": folders["array"]}, body=6000, bodies=6000)
    with served.Client(server) as client:
        answers = client.post_all("/v1/models/array:predict", [{"instances": [[1, 1]] * 400}] * 1)
        assert answers[0].status_code == 400  # more than 64 examples
        assert server.body_bytes == 0
        server.body_bytes = 1
        large = client.post("/v1/models/array:predict", content=b" " * 6000)
        assert large.status_code == 503 and large.headers["connection"] == "close"
        assert server.body_bytes == 1
