"""`kpipe serve` answers as TensorFlow Serving does, and says what is wrong with a request."""

import base64
import io
import json
import math
import pathlib
import threading
import urllib.parse

import jsonschema
import numpy as np
import pytest
import served
from served import bombs

import kpipe
from kpipe.errors import UserError
from kpipe.export import read_npz
from kpipe.serving import Server, app, explanations, names_of, requests
from kpipe.serving.paths import quote

DIGITS = "digits"


def client_of(folders, **limits):
    """A client of a server in this process."""
    return served.Client(served.server_of(folders, **limits))


@pytest.fixture(scope="module")
def folders(tmp_path_factory, finished_run):
    out = tmp_path_factory.mktemp("served")
    kinds = {kind: served.write(out / kind, kind) for kind in served.MAKERS}
    return {DIGITS: finished_run.folder, **kinds}


@pytest.fixture(scope="module")
def client(folders):
    with client_of(folders) as client:  # one event loop for all requests
        yield client


@pytest.fixture(scope="module")
def model(folders):
    return kpipe.load(folders[DIGITS])


@pytest.fixture(scope="module")
def images(finished_run):
    return read_npz(finished_run.folder / "golden.npz")["array0"]


def ask(client, name, expected=200, verb=":predict", **content):
    answer = client.post(f"/v1/models/{name}{verb}", json=content)
    assert answer.status_code == expected, answer.text
    return answer.json()


def encoded(image, format="PNG", **options):
    from PIL import Image

    written = io.BytesIO()
    Image.fromarray(image).save(written, format, **options)
    return {"b64": base64.b64encode(written.getvalue()).decode()}


# --- TensorFlow Serving's protocol ------------------------------------------------------------


def test_the_status_of_a_model_is_that_of_tensorflow_serving(client):
    ok = {"error_code": "OK", "error_message": ""}
    status = {"model_version_status": [{"version": "1", "state": "AVAILABLE", "status": ok}]}
    assert client.get(f"/v1/models/{DIGITS}").json() == status
    assert client.get(f"/v1/models/{DIGITS}/versions/1").json() == status
    listed = client.get("/v1/models").json()["models"]
    assert listed[0] == {"name": DIGITS, "version": 1}


def test_the_metadata_of_a_model_are_those_of_tensorflow_serving(client):
    metadata = client.get(f"/v1/models/{DIGITS}/versions/1/metadata").json()
    assert metadata["model_spec"] == {"name": DIGITS, "signature_name": "", "version": "1"}
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    definition = signatures["serving_default"]
    sizes = [dim["size"] for dim in definition["inputs"]["images"]["tensor_shape"]["dim"]]
    assert sizes == ["-1", "28", "28", "1"]  # int64 is a string in the JSON of protobuf
    assert definition["inputs"]["images"]["dtype"] == "DT_UINT8"
    assert definition["inputs"]["images"]["tensor_shape"]["unknown_rank"] is False
    assert definition["method_name"] == "tensorflow/serving/predict"


def test_rows_and_columns_are_answered_as_the_loaded_export_predicts(client, model, images):
    expected = model.predict(images[:5])
    values = images[:5].tolist()
    by_row = ask(client, DIGITS, instances=values)["predictions"]
    named = ask(client, DIGITS, instances=[{"images": value} for value in values])["predictions"]
    by_column = ask(client, DIGITS, inputs=values)["outputs"]
    assert ask(client, DIGITS, inputs={"images": values})["outputs"] == by_column
    assert by_row == named
    assert by_column == {name: [row[name] for row in by_row] for name in by_row[0]}
    assert by_column.keys() == expected.keys()
    assert by_column["label"] == expected["label"].tolist()
    assert by_column["prediction_set"] == expected["prediction_set"].tolist()
    for name in ("probabilities", "calibrated"):
        np.testing.assert_array_equal(np.float32(by_column[name]), expected[name])


def test_a_number_is_written_with_a_point_and_as_short_as_it_can_be(client):
    text = client.post("/v1/models/array:predict", json={"inputs": [[0.05, 0], [1, 1]]}).text
    assert text == '{"outputs": [0.1, 4.0]}'  # as float64 it would be 0.10000000149011612


def test_the_only_output_has_no_name(client):
    code = [[0.0, 0.25, 0.5, 1.0]]
    one = ask(client, "autoencoder", signature_name="decode", instances=code)["predictions"]
    assert np.shape(one) == (1, 4, 4, 1) and one[0][0] == [[value] for value in code[0]]
    both = ask(client, "autoencoder", instances=np.zeros((2, 4, 4, 1), int).tolist())
    assert both["predictions"][0].keys() == {"code", "reconstruction"}


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "GIF"])
def test_encoded_images_are_answered_as_kpipe_predict_does(client, model, images, format, tmp_path):
    value = encoded(images[0, :, :, 0], format)
    path = tmp_path / "image"
    path.write_bytes(base64.b64decode(value["b64"]))
    expected = model.predict_files([path])["probabilities"]
    named = {"bytes": value}
    for given in ([value, value], [named, named]):
        rows = ask(client, DIGITS, signature_name="serving_bytes", instances=given)["predictions"]
        np.testing.assert_allclose(rows[1]["probabilities"], expected[0], atol=1e-6)


def test_texts_are_strings_or_base64(client):
    given = ["aaa", {"b64": base64.b64encode("bäa".encode()).decode()}]
    rows = ask(client, "text", instances=given)["predictions"]
    assert rows[0] == {"label": "happy", "probabilities": [0.0, 1.0]}
    assert rows[1]["probabilities"] == pytest.approx([0.75, 0.25])  # bytes: b, two of ä, a
    tokens = ask(client, "text", signature_name="serving_tokens", inputs=[[0, 0], [19, 19]])
    assert tokens["outputs"]["label"] == ["sad", "happy"]


def test_a_row_of_a_table_is_an_object_and_null_is_missing(client):
    row = {"area": 50, "home_town": "Bray", "built": "1999-01-31", "sold": None, "garden": True}
    missing = dict.fromkeys(row)
    rows = ask(client, "table", instances=[row, missing])["predictions"]
    assert rows == pytest.approx([1050.14, 0])
    columns = {name: [row[name], missing[name]] for name in row}
    assert ask(client, "table", inputs=columns)["outputs"] == rows
    named = {**row, "home town": row["home_town"]}  # the column's own name
    del named["home_town"]
    assert ask(client, "table", instances=[named])["predictions"] == rows[:1]


@pytest.mark.parametrize("written", ["31.01.1999", "1999-01-31", "1999-01-31T00:00:00"])
def test_dates_may_be_in_the_format_of_the_users_file(client, written):
    """The model adds the length of the date that it gets: 10 letters of ISO 8601."""
    row = {"area": 0, "home_town": "", "built": written, "sold": "", "garden": 0}
    assert ask(client, "table", instances=[row])["predictions"] == pytest.approx([0.1])


# --- what is wrong ----------------------------------------------------------------------------

IMAGE = np.zeros((28, 28, 1), int).tolist()
ROW = {"area": 1, "home_town": "a", "built": "", "sold": "", "garden": 0}


def image_with(value, row=3, column=4):
    image = np.zeros((28, 28, 1), object)
    image[row, column, 0] = value
    return image.tolist()


def rows_with(**changed):
    return {"instances": [ROW, {**ROW, **changed}]}


def without(key):
    return {"instances": [ROW, {name: value for name, value in ROW.items() if name != key}]}


WRONG = [
    (DIGITS, {}, 'expected one of the keys "instances" and "inputs"'),
    (DIGITS, {"instances": [IMAGE], "inputs": [IMAGE]}, "expected one of the keys"),
    (DIGITS, {"instance": [IMAGE]}, "unknown key 'instance'; did you mean 'instances'"),
    (DIGITS, {"instances": []}, "instances: expected a list with at least one example"),
    (DIGITS, {"instances": IMAGE[0][0][0]}, "instances: expected a list"),
    (DIGITS, {"instances": [IMAGE] * 65}, "65 examples; expected at most 64"),
    (DIGITS, {"signature_name": "othe", "instances": [IMAGE]}, "no signature 'othe'; known: s"),
    (DIGITS, {"signature_name": ["x"], "instances": [IMAGE]}, "no signature of type list"),
    (
        DIGITS,
        {"instances": [IMAGE, IMAGE[1:]]},
        "instances[1]: a list of 27; expected a list of 28 × 28",
    ),
    (DIGITS, {"instances": [IMAGE, 7]}, "instances[1]: 7; expected a list of 28 × 28 × 1"),
    (DIGITS, {"instances": [IMAGE, None]}, "instances[1]: null; expected"),
    (
        DIGITS,
        {"instances": [[*IMAGE[1:], IMAGE[0][1:]]]},
        "instances[0][27]: a list of 27; expected a list of 28 × 1",
    ),
    (
        DIGITS,
        {"instances": [IMAGE, image_with(256)]},
        "instances[1][3][4][0]: 256; expected an integer from 0 to 255",
    ),
    (DIGITS, {"instances": [image_with(-1)]}, "[3][4][0]: -1; expected an intege"),
    (DIGITS, {"instances": [image_with(0.5)]}, "[3][4][0]: 0.5; expected an intege"),
    (DIGITS, {"instances": [image_with(1.0)]}, "[3][4][0]: 1.0; expected an intege"),
    (DIGITS, {"instances": [image_with(True)]}, "[3][4][0]: true; expected an intege"),
    (DIGITS, {"instances": [image_with("1")]}, "[3][4][0]: '1'; expected an intege"),
    (DIGITS, {"instances": [image_with([1])]}, "[3][4][0]: a list of 1; expected an intege"),
    (
        DIGITS,
        {"instances": [image_with(10**30)]},
        "[3][4][0]: 1000000000000000000000000000000; expected an intege",
    ),
    (DIGITS, {"instances": [{"b64": "aGk="}]}, "instances[0]: an object; expected a list"),
    (
        DIGITS,
        {"instances": [{"image": IMAGE}]},
        "instances[0]: unknown key 'image'; did you mean 'images'",
    ),
    (DIGITS, {"instances": [{"images": IMAGE}, {}]}, "instances[1]: 'images' is missing"),
    (
        DIGITS,
        {"instances": [{"images": IMAGE}, IMAGE]},
        "instances[1]: expected an object with the keys 'images'",
    ),
    (DIGITS, {"inputs": {"images": IMAGE[0][0][0]}}, "inputs.images: expected a list"),
    (DIGITS, {"inputs": {"images": [IMAGE, image_with(-2)]}}, "inputs.images[1][3][4][0]: -2"),
    (
        "array",
        {"instances": [[1, 2], [1, 1e39]]},
        "instances[1][1]: 1e+39; expected a number of float32's range",
    ),
    (
        "array",
        {"instances": [[1, 2], [-(10**400), 1]]},
        "instances[1][0]: a number of many digits; expected",
    ),
    ("array", {"instances": [[1, 2], [1, 2, 3]]}, "instances[1]: a list of 3; expected 2 numbers"),
    (
        "array",
        {"instances": [[1, 2], [3e38, 3e38]]},
        "instances[1]: the model's value contains NaN or infinity",
    ),
    ("array", {"inputs": [[3e38, 3e38]]}, "inputs[0]: the model's value contains NaN"),
    ("text", {"instances": ["a", 1]}, "instances[1]: 1; expected a text"),
    ("text", {"instances": ["a", ["b"]]}, "instances[1]: a list of 1; expected a text"),
    ("text", {"instances": ["a", {"b64": "/w=="}]}, "instances[1]: not valid UTF-8, at byte 0"),
    ("text", {"instances": ["a", {"b64": "!"}]}, "instances[1].b64: not valid base64"),
    ("text", {"instances": ["a", {"b64": 1}]}, "instances[1].b64: 1; expected a text in base64"),
    ("text", {"instances": "a"}, "instances: expected a list"),
    (
        "text",
        {"signature_name": "serving_tokens", "instances": [[1, 2], [1]]},
        "instances[1]: a list of 1; expected 2 numbers",
    ),
    (
        "text",
        {"signature_name": "serving_tokens", "instances": [[]]},
        "instances[0]: a list of 0; expected a list of 1 to 1,024",
    ),
    (
        "text",
        {"signature_name": "serving_tokens", "instances": [[1] * 1025]},
        "a list of 1,025; expected a list of 1 to 1,024",
    ),
    (
        "text",
        {"signature_name": "serving_tokens", "instances": [[1], [20]]},
        "instances[1]: the model cannot process it",
    ),
    ("table", without("area"), "instances[1]: 'area' is missing"),
    ("table", rows_with(are=1), "instances[1]: unknown key 'are'; did you mean 'area'"),
    (
        "table",
        rows_with(**{"home town": "b"}),
        "instances[1]: 'home town' and 'home_town' are one column",
    ),
    ("table", rows_with(area="1"), "instances[1].area: '1'; expected a number, or null"),
    ("table", rows_with(area=True), "instances[1].area: true; expected a number, or null"),
    ("table", rows_with(area=1e39), "instances[1].area: 1e+39; expected a number of float32"),
    ("table", rows_with(garden=2), "instances[1].garden: 2; expected true or false"),
    ("table", rows_with(garden="yes"), "instances[1].garden: 'yes'; expected true or false"),
    ("table", rows_with(home_town=3), "instances[1].home_town: 3; expected a text"),
    (
        "table",
        rows_with(sold="31.01.1999"),
        "instances[1].sold: '31.01.1999'; expected a date such as 2024-01-31",
    ),
    ("table", rows_with(sold="2023-02-29"), "instances[1].sold: '2023-02-29'; expected a date"),
    (
        "table",
        rows_with(built="1999-13-01"),
        "instances[1].built: '1999-13-01'; expected a date such as 31.01.2024",
    ),
    ("table", {"instances": [ROW, 5]}, "instances[1]: expected an object with the keys 'area'"),
    ("table", {"inputs": [1, 2]}, "inputs: expected an object with the keys 'area', 'home_town'"),
    (
        "table",
        {"inputs": {name: [None] * (1 + (name == "area")) for name in ROW}},
        "inputs.home_town: 1 values; expected 2, as many as of area",
    ),
]


@pytest.mark.parametrize(("name", "content", "error"), WRONG)
def test_a_wrong_request_is_told_what_is_wrong_and_where(client, name, content, error):
    answer = ask(client, name, 400, **content)
    assert answer.keys() == {"error"} and "\n" not in answer["error"]
    assert error in answer["error"]


BODIES = {
    b"": "the body is not JSON",
    b"{": "the body is not JSON",
    b"[1]": "the body is no JSON object",
    b"\xff{}": "the body is not valid UTF-8, at byte 0",
    b'{"instances": [NaN]}': "the body contains NaN, which is not JSON",
    b'{"instances": [-Infinity]}': "the body contains -Infinity",
    b'{"instances": [[1, 2]], "instances": [[1, 2]]}': "the key 'instances' twice",
    b'{"instances": [{"features": [1, 2], "features": [1, 2]}]}': "the key 'features' twice",
    b'{"instances": [' + b"9" * 5000 + b"]}": "a number of too many digits",
    b'{"instances": [[1e999, 1]]}': "instances[0][0]: inf; expected a number of float32's range",
    b'{"instances": ' + b"[" * 100_000: "nested too deeply",
    b'{"instances": ' + b"[" * 500 + b"1" + b"]" * 500 + b"}": "expected 2 numbers",
    b'{"instances": ["\\ud800"]}': "instances[0]: '\\ud800'; expected 2 numbers",
    b'{"\\ud800": 1}': "unknown key '\\ud800'",
}


@pytest.mark.parametrize(("body", "error"), BODIES.items(), ids=range(len(BODIES)))
def test_a_body_that_is_not_json_is_refused(client, body, error):
    answer = client.post("/v1/models/array:predict", content=body)
    assert answer.status_code == 400 and error in answer.json()["error"], answer.text


def test_a_lone_surrogate_in_a_text_is_refused(client):
    answer = client.post("/v1/models/text:predict", content=b'{"instances": ["a", "b\\ud800"]}')
    assert answer.status_code == 400
    assert answer.json()["error"] == r"instances[1]: not valid Unicode, a lone surrogate \ud800"


def bomb(width, height):
    """The header of a PNG of any size, with hardly any data."""
    import struct
    import zlib

    def chunk(kind, content):
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


HALF = base64.b64decode(encoded(np.arange(784, dtype=np.uint8).reshape(28, 28), "JPEG")["b64"])[
    :400
]
WRONG_IMAGES = {
    "empty": (b"", "instances[1]: not an image that can be decoded (empty file)"),
    "a text": (b"hello", "instances[1]: not an image of a known format"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0", "instances[1]: not an image of a known format"),
    "cut off": (bomb(28, 28)[:40], "instances[1]: not an image that can be decoded"),
    "a start": (b"\xff\xd8\xff\xe0" + b"\0" * 50, "instances[1]: not an image that can be decoded"),
    "large": (bomb(5001, 5000), "instances[1]: 25.0 megapixels; expected at most 25"),
    "a bomb": (bomb(60_000, 60_000), "instances[1]: not an image that can be decoded (more than"),
    "half": (HALF, "instances[1]: the model cannot process it"),
    "many scans": (
        bombs.progressive_jpeg(101),
        "instances[1]: not an image that can be decoded (102 scans)",
    ),
    "strips that are all the same": (
        bombs.tiff(100),
        "instances[1]: not an image that can be decoded (its parts overlap)",
    ),
}


@pytest.mark.parametrize("name", WRONG_IMAGES)
def test_a_wrong_image_is_named_with_the_reason(client, images, name):
    content, error = WRONG_IMAGES[name]
    given = [encoded(images[0, :, :, 0]), {"b64": base64.b64encode(content).decode()}]
    answer = ask(client, DIGITS, 400, signature_name="serving_bytes", instances=given)
    assert answer["error"].startswith(error)


@pytest.mark.parametrize(
    "content",
    [
        *(bombs.progressive_jpeg(90), bombs.gif(9999, 9999, b""), bombs.png(300), bombs.tiff(2)),
        bombs.gif(9999, 9999),  # before whose second picture Pillow stops
        bombs.progressive_jpeg(9) + b"\xff\xda" * 99 + bytes(2**20),  # what a camera appends
    ],
    ids=range(6),
)
def test_what_an_image_says_costs_neither_memory_nor_time(content):
    """The graph sees what it decodes at once: not a second picture, nor what texts expand to."""
    from kpipe.serving.values import as_images

    given = {"b64": base64.b64encode(content).decode()}
    (prepared,), (pixels,) = as_images([given], str, 25_000_000)
    assert pixels <= 65_536
    if content[:3] == b"GIF":
        assert prepared[1:4] == b"PNG"
    if content[1:4] == b"PNG":
        assert len(prepared) < 200
        assert (
            prepared
            == as_images([{"b64": base64.b64encode(bombs.png(0)).decode()}], str, 9**9)[0][0]
        )


def test_an_image_that_is_not_in_base64_is_told_how_to_be(client):
    answer = ask(client, DIGITS, 400, signature_name="serving_bytes", instances=["abc"])
    assert answer["error"] == 'instances[0]: \'abc\'; expected an image file as {"b64": "..."}'


@pytest.mark.parametrize("verb", [":predict", ":explain"])
def test_images_are_read_in_a_thread_however_their_key_is_written(client, monkeypatch, verb):
    """A lossless WebP of a KiB takes a second, in which nobody else would be answered."""
    threads, as_images = [], requests.as_images

    def watched(*arguments):
        threads.append(threading.current_thread().name)
        return as_images(*arguments)

    monkeypatch.setattr(requests, "as_images", watched)
    body = json.dumps(
        {"signature_name": "serving_bytes", "instances": [encoded(np.zeros((9, 9), np.uint8))]}
    )
    for content in (
        body,
        body.replace("b64", "\\u006264"),
        body.replace("serving_b", "\\u0073erving_b"),
    ):
        assert client.post(f"/v1/models/{DIGITS}{verb}", content=content).status_code == 200
    assert len(threads) == 3 and all(name.startswith("convert") for name in threads)


def test_images_of_a_request_have_a_limit_together(folders):
    image = {"b64": base64.b64encode(bomb(90, 100)).decode()}
    with client_of({DIGITS: folders[DIGITS]}, pixels=10_000) as client:
        answer = ask(client, DIGITS, 400, signature_name="serving_bytes", instances=[image] * 5)
    assert answer["error"].startswith("instances[4]: more than 0.04 megapixels with the images")


def test_a_body_that_is_too_large_is_refused_before_it_is_read(folders):
    with client_of({"array": folders["array"]}, body=1000) as client:

        async def parts():
            yield b" " * 600
            yield b" " * 600

        for content in (b" " * 1001, parts()):  # the second one without a length
            answer = client.post("/v1/models/array:predict", content=content)
            assert (answer.status_code, answer.headers["connection"]) == (413, "close")
            assert answer.json() == {
                "error": "the body is larger than 1,000 bytes; send less at once"
            }
        compressed = client.post("/v1/models/array:predict", headers={"content-encoding": "gzip"})
        assert compressed.status_code == 400 and "compressed" in compressed.json()["error"]


# --- paths ------------------------------------------------------------------------------------

PATHS = [
    ("GET", "/v1/models/digit", 404, "no model 'digit' is served; did you mean 'digits'"),
    ("GET", "/v1/models/digits/versions/2", 404, "no version 2 of digits is known"),
    ("POST", "/v1/models/digits/versions/2:predict", 404, "no version 2 of digits is served; ex"),
    ("POST", "/v1/models/digits/versions/x:predict", 404, "no such path"),
    ("POST", f"/v1/models/digits/versions/{'9' * 5000}:predict", 404, "no such path"),
    ("POST", "/v1/models/digits/labels/stable:predict", 404, "versions have no labels here"),
    ("POST", "/v1/models/digits:classify", 501, "kpipe's models have no classify; use :predict"),
    ("POST", "/v1/models/digits:regress", 501, "kpipe's models have no regress"),
    ("POST", "/v1/models/digits:train", 404, "no such path; expected :predict"),
    ("GET", "/v1/models/digits:predict", 405, "GET is not answered here; expected POST"),
    ("POST", "/v1/models/digits", 405, "POST is not answered here; expected GET"),
    ("DELETE", "/v1/models/digits", 405, "DELETE is not answered here"),
    ("POST", "/ready", 405, "POST is not answered here; expected GET, HEAD"),
    ("GET", "/v1/models/", 404, "no model ''"),
    ("GET", "/v1/models/digits/metadata/x", 404, "no such path"),
    ("GET", "/other", 404, "no such path"),
    ("GET", "/v1%2Fmodels/digits", 404, "no such path; expected /v1/models/NAME"),
    ("GET", "/v1/models%2Fdigits", 404, "no such path; expected /v1/models/NAME"),
    ("POST", "/v1%2fmodels%2fdigits:predict", 404, "no such path; expected /v1/models/NAME"),
    ("GET", "/%761/models/digits%3Apredict", 404, "no model 'digits:predict' is served"),
    ("GET", "/page/..%2fapp.py", 404, "no such path"),
    ("GET", "/page/app.py", 404, "no file 'app.py'"),
]


@pytest.mark.parametrize(("method", "path", "status", "error"), PATHS)
def test_a_wrong_path_is_answered_in_json(client, method, path, status, error):
    answer = client.request(method, path)
    assert answer.status_code == status and answer.json()["error"].startswith(error)
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    "name", ["a=1,b=0.5", "50%", "tmp%2Fx,y", "a b", "größe", "a:predict", "a?b#c"]
)
def test_any_folder_name_is_a_model_name(folders, name):
    with client_of({name: folders["array"]}) as client:
        for path in (urllib.parse.quote(name, safe=""), quote(name)):
            assert ask(client, path, instances=[[1, 2]]) == {"predictions": [6.0]}
            assert ask(client, path + "/versions/1", inputs=[[1, 2]]) == {"outputs": [6.0]}
            assert client.get(f"/v1/models/{path}/about").json()["name"] == name
        assert f"/v1/models/{quote(name)}:predict" in client.get("/openapi.json").json()["paths"]


def test_two_runs_of_one_name_need_another_one(tmp_path):
    with pytest.raises(
        UserError, match=r"a/run and b/run are both named 'run'; .*--name OTHER=b/run"
    ):
        names_of(["a/run", "b/run"])
    assert names_of(["a/run"], ["other=b/run,x=1"]) == {
        "run": pathlib.Path("a/run"),
        "other": pathlib.Path("b/run,x=1"),
    }
    for wrong in ("b/run", "=b/run", "name=", "a/b=run"):
        with pytest.raises(UserError, match="expected NAME=RUN"):
            names_of(["a/run"], [wrong])


# --- what else is answered --------------------------------------------------------------------


def test_about_describes_a_run_for_a_page(client, finished_run):
    about = client.get(f"/v1/models/{DIGITS}/about").json()
    accuracy = finished_run.metrics["accuracy"]
    assert about["headline"] == {
        "name": "accuracy",
        **{k: accuracy[k] for k in ("value", "low", "high", "n")},
    }
    assert about["input"] == {"kind": "image", "shape": [28, 28, 1]}
    assert about["labels"] == [str(digit) for digit in range(10)]
    assert about["data"] == "mnist (sample data)" and about["task"] == "classification"
    assert about["calibrated"] is True and about["coverage"] == 0.9
    assert about["versions"] == [1] and about["version"] == 1
    assert about["limits"] == {
        "body": 8 << 20, "pixels": 25_000_000, "instances": 64, "deadline": 30.0
    }  # fmt: skip


def test_about_describes_a_table_a_text_and_an_autoencoder(client):
    kinds = {name: client.get(f"/v1/models/{name}/about").json() for name in served.MAKERS}
    columns = kinds["table"]["input"]["columns"]
    assert [(c["name"], c["argument"], c["kind"]) for c in columns][1:3] == [
        ("home town", "home_town", "category"),
        ("built", "built", "date"),
    ]
    assert kinds["text"]["input"] == {"kind": "text"} and kinds["text"]["labels"] == [
        "sad",
        "happy",
    ]
    assert kinds["array"]["input"] == {"kind": "array", "shape": [2]}
    assert kinds["autoencoder"]["code_size"] == served.SIZE
    assert kinds["autoencoder"]["headline"] is None  # an export without its run


def test_requests_and_answers_have_the_schemas_of_openapi(client):
    paths = client.get("/openapi.json").json()["paths"]

    def schema(name, *keys):
        found = paths[f"/v1/models/{name}:predict"]["post"]
        for key in keys:
            found = found[key]
        return found["content"]["application/json"]["schema"]

    given = {
        DIGITS: {"instances": [IMAGE]},
        "array": {"inputs": {"features": [[1, 2]]}},
        "text": {"signature_name": "serving_tokens", "instances": [[1]]},
        "table": {"instances": [ROW]},
        "autoencoder": {"signature_name": "decode", "inputs": [[0.5] * 4]},
    }
    for name, content in given.items():
        jsonschema.validate(content, schema(name, "requestBody"))
        jsonschema.validate(ask(client, name, **content), schema(name, "responses", "200"))
        assert name in str(paths.keys())
    wrong = [
        (DIGITS, {"instances": [image_with(256)]}),
        (DIGITS, {"instances": [IMAGE[1:]]}),
        (DIGITS, {"instances": [IMAGE], "more": 1}),
        ("array", {"instances": [[1, 2, 3]]}),
        ("text", {"instances": [1]}),
        ("table", without("area")),
        ("table", rows_with(garden=2)),
        ("autoencoder", {"signature_name": "decode", "instances": [[0.5] * 5]}),
    ]
    for name, content in wrong:
        ask(client, name, 400, **content)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(content, schema(name, "requestBody"))


def test_examples_of_the_docs_are_answered(client):
    paths = client.get("/openapi.json").json()["paths"]
    for path, methods in paths.items():
        if path.endswith(":predict"):
            example = methods["post"]["requestBody"]["content"]["application/json"]["example"]
            assert client.post(path, json=example).status_code == 200, path
    page = client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "POST /v1/models/table:predict" in page.text and "<script" not in page.text


def test_it_is_alive_ready_and_counted(folders):
    with client_of({"array": folders["array"]}) as client:
        ask(client, "array", instances=[[1, 2]] * 3)
        ask(client, "array", 400, instances=[[1]])
        client.get("/v1/models/unknown")
        assert client.get("/health").json() == {"status": "alive"}
        assert client.get("/ready").json() == {"status": "ready"}
        text = client.get("/metrics").text
    for line in (
        'kpipe_requests_total{model="array",status="200"} 1.0',
        'kpipe_requests_total{model="array",status="400"} 1.0',
        'kpipe_requests_total{model="",status="404"} 1.0',  # not by a name that anyone invents
        'kpipe_errors_total{kind="bad_input"} 1.0',
        'kpipe_request_seconds_count{model="array"} 2.0',
        "kpipe_batch_examples_sum 3.0",
        'kpipe_model_version{model="array"} 1.0',
        "kpipe_queue_examples 0.0",
    ):
        assert line in text, text


def test_it_is_not_ready_before_its_models_are(folders):
    server = Server({"array": folders["array"]}, say=lambda line: None)
    with served.Client(server) as client:
        for path in ("/ready", "/v1/models/array/about"):
            answer = client.get(path)
            assert answer.status_code == 503 and answer.headers["retry-after"] == "1"
        server.models["array"].update()
        assert client.get("/ready").status_code == 200
        server.stopping = True
        assert client.get("/ready").json() == {"error": "the server is stopping"}
        assert client.get("/health").status_code == 200


def test_every_answer_has_headers_that_protect_a_browser(client):
    for path in ("/health", "/docs", "/other", "/v1/models/digits"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith(
            "default-src 'self'; img-src 'self' data"
        )
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


def test_pages_of_other_origins_are_allowed_by_name_only(folders):
    server = Server({"array": folders["array"]}, say=lambda line: None)
    with served.Client(server, ["https://a.example"]) as client:
        for origin, allowed in (("https://a.example", True), ("https://b.example", False)):
            headers = client.get("/health", headers={"origin": origin}).headers
            assert ("access-control-allow-origin" in headers) == allowed


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(("localhost", 200), ("LOCALHOST:8501", 200), ("a.localhost", 200), ("127.0.0.1:1", 200)),
        *(("[::1]:8501", 200), ("10.0.0.7", 200), ("given.example:80", 200)),
        *(("evil.example:8501", 403), ("localhost.evil.example", 403), ("evillocalhost", 403)),
        *(("given.example.", 403), ("[::1", 403), ("127.0.0.1.evil.example", 403)),
    ],
)
def test_only_names_that_are_known_are_answered(folders, host, status):
    server = Server({"array": folders["array"]}, say=lambda line: None)
    with served.Client(server, hosts=["Given.example"]) as client:
        for path in ("/health", "/metrics", "/v1/models"):
            answer = client.get(path, headers={"host": host})
            assert answer.status_code == status
        assert "known as" in answer.text or status == 200


@pytest.mark.parametrize(
    ("headers", "is_allowed"),
    [
        ({}, True),  # a program
        ({"origin": "http://here"}, True),
        ({"origin": "http://here:80"}, False),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": "https://a.example"}, True),
        ({"origin": "https://a.example", "sec-fetch-site": "cross-site"}, True),
        ({"origin": "https://behind.proxy", "sec-fetch-site": "same-origin"}, True),
        ({"origin": "http://here", "sec-fetch-site": "cross-site"}, False),
        ({"origin": "http://here:3000", "sec-fetch-site": "same-site"}, False),
    ],
)
def test_pages_of_other_origins_start_no_computation(folders, headers, is_allowed):
    """A form or a text/plain POST needs no permission of the server's."""
    with served.Client(
        served.server_of({"array": folders["array"]}), ["https://a.example"]
    ) as client:
        content = b'{"instances": [[1, 2]]}'
        answer = client.post("/v1/models/array:predict", content=content, headers=headers)
        assert answer.status_code == (200 if is_allowed else 403)
        assert client.get("/health", headers=headers).status_code == 200


def test_the_files_of_the_page_are_served_with_their_types(monkeypatch, folders):
    files = {
        "index.html": (b"<html>", "text/html; charset=utf-8"),
        "app.js": (b"1", "text/javascript; charset=utf-8"),
    }
    monkeypatch.setattr(app, "_read_page", lambda: files)
    with client_of({"array": folders["array"]}) as client:
        assert client.get("/").text == "<html>"
        answer = client.get("/page/app.js")
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
    monkeypatch.setattr(app, "_read_page", dict)
    with client_of({"array": folders["array"]}) as client:
        assert client.get("/", follow_redirects=False).headers["location"] == "/docs"


# --- explanations -----------------------------------------------------------------------------


class Explained:
    def to_json(self):
        return {"kind": "text", "words": [["a", 0.5]]}


@pytest.fixture
def explaining(monkeypatch):
    """A stand-in for `kpipe.explaining.explain` that keeps what it was asked."""
    asked = []

    def explain(model, examples, *, target=None, methods=()):
        asked.append((examples, target, methods))
        if target == "nobody":
            raise UserError("no label 'nobody'")
        return [Explained()]

    monkeypatch.setattr(explanations, "explain", explain)
    return asked


def test_an_image_is_explained_as_about_says(client, images):
    (method, *_) = client.get(f"/v1/models/{DIGITS}/about").json()["explains"]
    content = {"instances": images[:1].tolist(), "methods": [method]}
    (found,) = ask(client, DIGITS, verb=":explain", **content)["explanations"]
    assert (found["kind"], found["method"], found["shape"]) == ("image", method, [28, 28])
    assert (
        found["target"]
        == ask(client, DIGITS, instances=images[:1].tolist())["predictions"][0]["label"]
    )
    broken = [{"b64": base64.b64encode(HALF).decode()}]
    answer = ask(client, DIGITS, 400, ":explain", signature_name="serving_bytes", instances=broken)
    assert answer["error"].startswith("instances[0]: the model cannot process it")
    assert client.get("/v1/models/autoencoder/about").json()["explains"] == []
    answer = ask(
        client, "autoencoder", 400, ":explain", instances=np.zeros((1, 4, 4, 1), int).tolist()
    )
    assert "expected a model that predicts labels or a value" in answer["error"]


def test_an_example_is_given_as_from_a_file(client, explaining, images):
    found = ask(
        client, "text", verb=":explain", instances=["aa"], target="happy", methods=["erasure"]
    )
    assert found == {"explanations": [{"kind": "text", "words": [["a", 0.5]]}]}
    examples, target, methods = explaining[0]
    assert (examples.kind, examples.names, examples.values) == ("text", ["aa"], [b"aa"])
    assert (target, methods) == ("happy", ("erasure",))
    ask(client, DIGITS, verb=":explain", instances=images[:1].tolist())
    np.testing.assert_array_equal(explaining[1][0].values, images[:1])
    ask(
        client,
        DIGITS,
        verb=":explain",
        signature_name="serving_bytes",
        instances=[encoded(images[0, :, :, 0])],
    )
    assert explaining[2][0].endpoint == "serving_bytes"
    ask(client, "table", verb=":explain", instances=[ROW])
    assert explaining[3][0].values["home_town"] == [b"a"]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"instances": ["a", "b"]}, '"instances": expected one example'),
        ({"inputs": ["a"]}, '"instances": expected one example'),
        ({"instances": ["a"], "target": 1}, "target: expected a label"),
        ({"instances": ["a"], "methods": "x"}, "methods: expected a list"),
        ({"instances": ["a"], "target": "nobody"}, "no label 'nobody'"),
        (
            {"signature_name": "serving_tokens", "instances": [[1]]},
            "serving_tokens is not explained",
        ),
    ],
)
def test_what_cannot_be_explained_is_told(client, explaining, content, error):
    assert ask(client, "text", 400, verb=":explain", **content)["error"].startswith(error)


@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize(
    "shapes",
    [
        {"x": (5,)},
        {"x": (30, 2)},
        {"x": (2, 4, 5)},
        {"x": (7, 3), "y": (7,)},
        {"x": (2, 3, 5), "y": (2, 20)},
    ],
    ids=range(5),
)
def test_an_answer_is_written_in_pieces_that_stop_no_other_thread(monkeypatch, shapes, rows):
    """One call that writes a million numbers would stop the event loop for a second."""
    from kpipe.serving import answers

    sizes, plain = [], answers._plain
    monkeypatch.setattr(answers, "_PIECE", 12)
    monkeypatch.setattr(answers, "_plain", lambda v: sizes.append(v.size) or plain(v))
    outputs = {name: np.arange(math.prod(shape)).reshape(shape) for name, shape in shapes.items()}
    expected = {name: values.tolist() for name, values in outputs.items()}
    if len(shapes) == 1:
        (expected,) = expected.values()
    elif rows:
        expected = [
            dict(zip(expected, row, strict=True)) for row in zip(*expected.values(), strict=True)
        ]
    text = answers.to_json(outputs, rows)
    assert text.decode() == json.dumps({"predictions" if rows else "outputs": expected})
    assert max(sizes) <= 12


def test_no_answer_is_longer_than_needed_to_be_read_back_exactly():
    from kpipe.serving.answers import to_json

    random = np.random.default_rng(0)
    values = random.normal(size=(50, 4)).astype(np.float32) * np.float32(10) ** random.integers(
        -30, 30, (50, 1)
    )
    read = json.loads(to_json({"x": values.astype(np.float32)}, rows=True))["predictions"]
    np.testing.assert_array_equal(np.float32(read), values.astype(np.float32))
    assert all(isinstance(x, float) and math.isfinite(x) for row in read for x in row)
