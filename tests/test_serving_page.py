"""The page of `kpipe serve`: its files, and what it does in a browser if there is one."""

import base64
import configparser
import fnmatch
import html.parser
import json
import re
import shutil
import subprocess
import sys
import time

import page_server
import pytest
from page_server import EVIL, PAGE

from kpipe import formatting
from kpipe.report.style import ICON, STYLE

SCRIPTS = sorted(PAGE.glob("*.js"))
FILES = sorted(file for file in PAGE.iterdir() if file.is_file())
CODE = {file.name: file.read_text("utf-8") for file in FILES}


class Elements(html.parser.HTMLParser):
    """The elements of a page, and whether its tags match."""

    EMPTY = ("meta", "link")

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        assert not (data.strip() and self.open[-1] in ("script", "style")), "it is inline"


def test_every_file_of_the_page_is_installed():
    config = configparser.ConfigParser()
    config.read(PAGE.parents[2] / "setup.cfg")
    patterns = config["options.package_data"]["kpipe.serving"].split(", ")
    for file in FILES:
        assert any(fnmatch.fnmatch(f"page/{file.name}", pattern) for pattern in patterns), file


def test_the_html_is_whole_and_contains_no_scripts_or_styles_of_its_own():
    elements = Elements(CODE["index.html"]).found
    labelled = {attributes.get("for") for tag, attributes in elements if tag == "label"}
    for tag, attributes in elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert tag not in ("input", "select", "textarea") or attributes["id"] in labelled
        address = attributes.get("src") or attributes.get("href") or ""
        if address.startswith("page/"):
            assert (PAGE / address.removeprefix("page/")).is_file()
        else:  # relative: the page works behind a path of a proxy, too
            assert address == ICON or address in ("", "docs", "openapi.json")


@pytest.mark.parametrize("name", [name for name in CODE if name != "index.html"])
def test_files_name_no_address_and_never_read_text_as_html_or_code(name):
    assert not re.search(r"https?:|[\"'`(]//|@import|url\(", CODE[name])
    dangerous = (
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(|DOMParser|srcdoc"
        r"|createContextualFragment|setHTML|javascript:|setAttribute\(\"style\"|\.href ="
    )
    assert not re.search(dangerous, CODE[name])


def test_scripts_import_what_others_export_and_none_is_unused():
    exports = {
        file.name: set(re.findall(r"^export (?:async )?(?:function|class|const) (\w+)", code, re.M))
        for file, code in ((file, CODE[file.name]) for file in SCRIPTS)
    }
    used = {name: set() for name in exports}
    for code in (CODE[file.name] for file in SCRIPTS):
        for names, source in re.findall(r"import \{([^}]*)\} from \"\./(.*?)\"", code):
            used[source] |= {name.strip() for name in names.split(",") if name.strip()}
    assert {**used, "head.js": used["head.js"] | {"measured"}} == exports


def test_scripts_are_short():
    assert max(CODE[file.name].count("\n") for file in SCRIPTS) < 400


def _colours(style):
    """The colours of a style sheet: light, and dark, where light ones hold unless they change."""
    light, dark = re.findall(r":root \{(.*?)\}", style, re.S)[:2]
    read = (dict(re.findall(r"--([\w-]+): (#\w+)", part)) for part in (light, dark))
    first, second = read
    return first, first | second


def _luminance(colour):
    """WCAG's relative luminance of 0 to 255."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour / 255]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _rgb(text):
    import numpy as np

    digits = text[1:] if len(text) == 7 else "".join(2 * digit for digit in text[1:])
    return np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)], float)


def _contrast(one, other):
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_colours_are_those_of_the_report_and_texts_have_enough_contrast(theme):
    colours, report = _colours(CODE["style.css"])[theme], _colours(STYLE)[theme]
    for name in ("ink", "quiet", "page", "card", "line", "good", "bad", "warn", "track"):
        assert colours[name] == report[name], name
    assert _contrast(_rgb("#000000"), _rgb("#fff")) == pytest.approx(21)
    texts = [
        (ink, on) for ink in ("ink", "quiet", "accent", "good", "bad") for on in ("page", "card")
    ]
    texts += [("on-accent", "accent"), ("ink", "field"), ("quiet", "field")]
    for ink, ground in texts:
        assert _contrast(_rgb(colours[ink]), _rgb(colours[ground])) >= 4.5, (ink, ground)
    for edge, ground in [("edge", "card"), ("edge", "field"), ("for", "card"), ("against", "card")]:
        assert _contrast(_rgb(colours[edge]), _rgb(colours[ground])) >= 3, (edge, ground)
    script = CODE["explanations.js"]
    strongest = float(re.search(r"STRONGEST = ([\d.]+)", script)[1])
    for name in ("FOR", "AGAINST"):
        listed = re.search(rf"{name} = \[(\d+), (\d+), (\d+)\]", script).groups()
        behind = strongest * _rgb("#" + "".join(f"{int(part):02x}" for part in listed))
        behind += (1 - strongest) * _rgb(colours["card"])
        assert _contrast(_rgb(colours["ink"]), behind) >= 4.5, name


# In a browser.


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if path is None:
        pytest.skip("there is no Chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def running_server():
    with page_server.running() as server:
        yield server


@pytest.fixture
def server(running_server):
    running_server.reset()
    return running_server


@pytest.fixture(scope="module")
def tab(browser):
    """One tab for all tests, since to open one takes as long as a test."""
    tab = browser.new_page()
    tab.set_default_timeout(10_000)
    tab.complaints, tab.visited = [], []
    tab.on("console", lambda message: tab.complaints.append((message.type, message.text)))
    tab.on("pageerror", lambda error: tab.complaints.append(("error", str(error))))
    tab.on("request", lambda request: tab.visited.append(request.url))
    return tab


@pytest.fixture
def visit(tab, server):
    """Opens the page of a model; what the browser complains about fails the test."""

    def open_page(name="", width=1280):
        tab.goto("about:blank")
        tab.set_viewport_size({"width": width, "height": 900})
        tab.goto(server.address + (f"#model={name}" if name else ""))
        tab.wait_for_selector("h1")
        return tab

    tab.complaints.clear()
    tab.visited.clear()
    yield open_page
    assert not tab.evaluate("window.wasAttacked")
    tab.evaluate("sessionStorage.clear()")
    tab.unroute_all()
    # A browser notes every answer that is an error, too.
    errors = [text for kind, text in tab.complaints if kind == "error"]
    assert [text for text in errors if not text.startswith("Failed to load resource:")] == []
    own = (server.address, "blob:", "data:", "about:blank")
    assert [url for url in tab.visited if not url.startswith(own)] == []


def until(page, expression, patience=10.0):
    """Waits until a JavaScript expression is true; Playwright's own way needs eval in the page."""
    end = time.monotonic() + patience
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(20)


def answer_of(page):
    """The card of the answer, once it is there."""
    card = page.get_by_role("region", name="Answer")
    page.wait_for_selector("section[aria-label=Answer][aria-busy=false] .answer")
    return card


def png(colour=(200, 30, 30), size=(40, 30)):
    return _as_png(lambda image: image.new("RGB", size, colour))


def noise(size):
    """A PNG of so many pixels a side, which cannot be made smaller."""
    import numpy as np

    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), "uint8")
    return _as_png(lambda image: image.fromarray(pixels))


def encoded(content):
    return base64.b64encode(content).decode()


def _as_png(make):
    import io

    from PIL import Image

    content = io.BytesIO()
    make(Image).save(content, "png")
    return content.getvalue()


def uploads(*names, content=None):
    return [
        {"name": name, "mimeType": "image/png", "buffer": content or png((40 * i, 90, 200))}
        for i, name in enumerate(names)
    ]


def fill_in(page, kind):
    """Enters an example for a model of a kind, and waits for the answer and its explanation."""
    if kind == "text":
        page.get_by_label("Text").fill("a good long film " + 90 * "m")
        page.get_by_role("button", name="Predict").click()
    elif kind == "table":
        page.get_by_role("button", name="Fill in an example").click()
    elif kind == "array":
        page.get_by_label("Number 1").fill("0.5")
        page.get_by_label("Number 2").fill("-2")
        page.keyboard.press("Enter")
    else:
        page.locator("input[type=file]").set_input_files(uploads("one.png", "o" * 90 + ".png"))
    answer_of(page)
    if page.get_by_role("button", name="Explain").count():
        page.get_by_role("button", name="Explain").click()
        page.wait_for_selector(".explanations .curl")


def test_a_text_is_answered_and_its_words_are_explained_by_more_than_colour(visit, server):
    page = visit("reviews,seed=1")
    assert "SAMPLE DATA" in page.inner_text(".banner")
    page.get_by_label("Text").fill("a good long film")
    page.keyboard.press("Control+Enter")
    card = answer_of(page)
    assert server.asked == [
        ("/v1/models/reviews,seed=1:predict", {"instances": ["a good long film"]})
    ]
    assert card.locator(".big").inner_text() == "negative"
    words = card.inner_text().replace("\u00a0", " ")
    assert "calibrated probability 58.3 %" in words
    assert "contains the true class in 90 % of cases" in words
    rows = [row.inner_text().replace("\u00a0", " ") for row in card.locator(".bars tbody tr").all()]
    assert ["66.7 %" in rows[0], "58.3 %" in rows[0], "in the set" in rows[0]] == [True] * 3
    bar = card.locator(".bars .calibrated").nth(1)
    assert bar.evaluate("bar => bar.style.width").startswith("58.3")

    page.get_by_role("button", name="Explain").click()
    page.wait_for_selector(".words-shown")
    looks = (
        page.locator(".words-shown")
        .first.locator(".word")
        .evaluate_all(
            "all => all.map((word) => [word.textContent,"
            " getComputedStyle(word).textDecorationStyle,"
            " getComputedStyle(word).textDecorationLine, word.style.backgroundColor])"
        )
    )
    assert looks[0] == ["a", "solid", "underline", "rgba(0, 114, 178, 0.7)"]
    assert looks[2] == ["long", "solid", "none", "rgba(213, 94, 0, 0)"]
    assert looks[3] == ["film", "wavy", "underline", "rgba(213, 94, 0, 0.35)"]
    assert "from 25.0 % to 75.0 %" in page.inner_text(".explanations").replace("\u00a0", " ")


def test_another_label_can_be_explained_and_each_answer_on_request(visit, server):
    page = visit("reviews,seed=1")
    page.get_by_label("Text").fill("fine")
    page.keyboard.press("Control+Enter")
    answer_of(page)
    page.get_by_role("combobox", name="Explanation of").select_option("positive")
    page.get_by_role("checkbox", name="Explain each answer").check()
    page.wait_for_selector(".words-shown")
    assert server.asked[-1][1] == {"instances": ["fine"], "target": "positive"}
    page.get_by_label("Text").fill("better")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".words-shown :text('better')")
    assert server.asked[-1][1] == {"instances": ["better"], "target": "positive"}


DROP = """([files, selector]) => {
  const transfer = new DataTransfer();
  for (const [name, type, bytes] of files) {
    transfer.items.add(new File([new Uint8Array(bytes)], name, { type }));
  }
  const target = document.querySelector(selector);
  for (const kind of ["dragover", "drop"]) {
    const init = { dataTransfer: transfer, bubbles: true, cancelable: true };
    if (target.dispatchEvent(new DragEvent(kind, init))) throw new Error("the page is replaced");
  }
}"""


def test_dropped_images_are_answered_and_one_that_is_no_image_is_named(visit, server):
    page = visit("faces")
    files = [
        ("red.png", "image/png", list(png())),
        (f"{EVIL}.png", "image/png", list(b"no image")),
        ("blue.png", "image/png", list(png((0, 0, 255)))),
    ]
    page.evaluate(DROP, [files, "main"])
    page.wait_for_selector(".list .bad")
    assert [len(content["instances"]) for _, content in server.asked] == [3, 2]
    assert server.asked[0][1]["signature_name"] == "serving_bytes"
    items = page.locator(".list button").all()
    assert [item.get_attribute("aria-pressed") for item in items] == ["true", "false", "false"]
    assert items[1].inner_text().split("\n") == [f"{EVIL}.png", "not an image of a known format."]
    items[2].click()
    page.get_by_role("button", name="Show all 12 labels").click()
    assert page.locator(".bars tbody tr").count() == 12
    assert page.evaluate("document.activeElement.textContent").startswith("A_label_7")
    items[1].click()
    assert page.locator(".detail").inner_text() == f"{EVIL}.png: not an image of a known format."


PASTE = """(text) => {
  const clipboardData = new DataTransfer();
  const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const file = new File([bytes], "image.png", { type: "image/png" });
  clipboardData.items.add(file);
  const init = { clipboardData, bubbles: true, cancelable: true };
  document.body.dispatchEvent(new ClipboardEvent("paste", init));
}"""


def test_a_pasted_image_is_answered_and_its_heat_can_be_faded(visit, server):
    page = visit("faces")
    page.evaluate(PASTE, encoded(png()))
    answer_of(page)
    page.get_by_role("button", name="Explain").click()
    page.wait_for_selector(".explanations canvas")
    shown = page.locator(".explanations canvas")
    assert [one.get_attribute("aria-label").split(" of ")[0] for one in shown.all()] == [
        "Grad-CAM",
        "Integrated gradients",
    ]
    corner = "all => all.map((one) => [...one.getContext('2d').getImageData(5, 315, 1, 1).data])"
    # Grey of (200, 30, 30) is 81; below left the effect is most negative.
    _, effects = shown.evaluate_all(corner)
    assert effects[0] > effects[2] + 100
    page.get_by_label("Opacity").fill("0")
    for pixel in shown.evaluate_all(corner):
        assert pixel[:3] == pytest.approx([81] * 3, abs=2)


def test_a_row_is_sent_with_its_types_and_empty_fields_are_missing(visit, server):
    page = visit("houses")
    page.get_by_label("area").fill("1.5e2")
    page.get_by_label("garden").select_option("no")
    page.get_by_label("built").fill("2001-02-03")
    page.get_by_role("button", name="Predict").click()
    card = answer_of(page)
    row = {"area": 150, "town": None, "built": "2001-02-03", "garden": False, "evil": None}
    assert server.asked[-1][1] == {"instances": [row]}
    assert card.locator(".big").inner_text() == "300,075"
    assert "wrong by 24,041 on average" in card.inner_text()
    page.get_by_role("button", name="Fill in an example").click()
    until(page, "document.querySelector('.answer .big').textContent == '80,820.2'")
    row = {"area": 40.4, "town": "Bray", "built": "1996-02-03", "garden": True, "evil": 1}
    assert server.asked[-1][1] == {"instances": [row]}
    page.get_by_role("button", name="Explain").click()
    page.wait_for_selector(".effects")
    numbers = [cell.inner_text() for cell in page.locator(".effects td:last-child").all()]
    assert numbers == ["−3.5", "−2.5", "−1.5", "+0.5", "−0.5"]


def test_the_last_request_wins_whatever_is_answered_first(visit, server):
    page = visit("houses")
    server.delays = [0.4]
    for area in ("1", "2"):
        page.get_by_label("area").fill(area)
        page.keyboard.press("Enter")
    page.wait_for_selector("text=4,001")
    page.wait_for_timeout(500)
    assert page.inner_text(".answer .big") == "4,001"
    assert len(server.asked) == 2


def test_what_is_no_number_is_refused_before_it_is_sent_and_stays(visit, server):
    page = visit("houses")
    page.get_by_label("area").fill("12,5")
    page.keyboard.press("Enter")
    alert = page.get_by_role("region", name="Answer").get_by_role("alert")
    assert alert.inner_text() == "area: “12,5” is not a number; expected one such as 1200.5."
    assert page.get_by_label("area").get_attribute("aria-invalid") == "true"
    assert page.evaluate("document.activeElement.value") == "12,5"
    page.goto(server.address + "#model=points")
    page.get_by_label("Number 1").fill("1")
    page.keyboard.press("Enter")
    page.get_by_text("Number 2 is empty; expected a number such as 0.5.").wait_for()
    assert server.asked == []


def test_an_image_is_reconstructed_and_moving_a_latent_decodes_it(visit, server):
    page = visit("vae")
    page.wait_for_selector(".decoded canvas")
    page.locator("input[type=file]").set_input_files(uploads("one.png"))
    answer_of(page)
    assert page.locator(".pair canvas").count() == 2
    assert "1.50, −0.25, 0.00, 1.00, 0.00" in page.inner_text(".answer")
    assert page.get_by_label("Latent z1").input_value() == "1.5"
    assert page.get_by_label("Latent c1 (3)").input_value() == "1"
    server.asked.clear()
    server.delays = [0.3]  # what is asked while the first answer is awaited
    page.get_by_label("Latent z1").focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    page.get_by_label("Latent c1 (3)").select_option("3")
    until(page, "document.querySelector('.decoded canvas').ariaLabel.endsWith('0.0, 0.0, 1.0')")
    assert len(server.asked) <= 3  # one on its way, and the last
    assert server.asked[-1] == (
        "/v1/models/vae:predict",
        {"signature_name": "decode", "instances": [[2, -0.25, 0, 0, 1]]},
    )
    grey = "canvas => canvas.getContext('2d').getImageData(3, 3, 1, 1).data[1]"
    assert page.locator(".decoded canvas").evaluate(grey) == round(255 * 5 / 6)
    page.get_by_role("button", name="Random code").click()
    until(page, "document.querySelector('output').textContent != '2.00'")
    page.get_by_role("button", name="All zero").click()
    page.get_by_role("region", name="Latents").get_by_text("0.00").first.wait_for()
    zero = "document.querySelector('.decoded canvas').ariaLabel.endsWith('0.0, 0.0, 1.0, 0.0, 0.0')"
    until(page, zero)

    server.delays = [0.2]  # the last code is sent even if the one before it fails
    server.answers = [(504, {}, {"error": "no answer within 30 seconds"})]
    page.get_by_label("Latent z1").fill("1")
    page.get_by_label("Latent z1").fill("2.5")
    until(page, "document.querySelector('.decoded canvas').ariaLabel.includes(' 2.5,')")
    assert page.get_by_role("region", name="Latents").get_by_role("alert").inner_text() == ""


def _sent(server):
    """The pixels of the last image that was sent."""
    import numpy as np

    (instance,) = server.asked[-1][1]["instances"]
    return np.asarray(page_server._pixels(instance["b64"], 0).convert("L")).astype(float)


def test_a_digit_is_drawn_with_the_mouse_and_put_in_the_middle_as_in_mnist(visit, server):
    import numpy as np

    page = visit("digits_mnist")
    box = page.get_by_label("Drawing area").bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 40, box["y"] + 120, steps=5)
    page.mouse.up()
    answer_of(page)
    pixels = _sent(server)
    assert pixels.shape == (28, 28)
    rows, columns = np.nonzero(pixels > 60)
    assert 19 <= np.ptp(rows) + 1 <= 21  # MNIST's box
    weights = pixels / pixels.sum()
    centre = [(weights.sum(axis) * (np.arange(28) + 0.5)).sum() for axis in (1, 0)]
    assert centre == pytest.approx([14, 14], abs=0.3)

    server.asked.clear()
    page.get_by_label("centre and scale it").uncheck()
    while not server.asked:
        page.wait_for_timeout(20)
    rows, columns = np.nonzero(_sent(server) > 60)
    assert [rows.min(), columns.min()] == pytest.approx([3, 3], abs=1)  # where it was drawn


def test_everything_can_be_done_with_the_keyboard(visit, server):
    page = visit()  # the first model
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('aria-label')") == "Drawing area":
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Space")
    for _ in range(6):
        page.keyboard.press("ArrowDown")
    assert "Pen down, column 14, row 20" in page.inner_text(".drawing")
    page.keyboard.press("Enter")
    answer_of(page)
    assert _sent(server).max() == 255
    with page.expect_file_chooser():
        page.get_by_role("button", name="One or several images").press("Enter")
    page.get_by_text("The same with curl").press("Enter")
    assert page.locator(".curl pre").first.is_visible()
    page.get_by_role("button", name="Explain").press("Space")
    page.wait_for_selector(".explanations canvas")


NAMELESS = """() => [...document.querySelectorAll('input, select, textarea, button, canvas')]
  .filter((one) => !one.labels?.length && !one.ariaLabel?.trim() && !one.textContent.trim())
  .filter((one) => !one.closest('.list'))
  .map((one) => one.outerHTML.slice(0, 200))"""
KINDS = {
    "digits_mnist": "image",
    "faces": "image",
    "reviews,seed=1": "text",
    "houses": "table",
    "points": "array",
    "vae": "image",
}


SLOW = ("digits_mnist", "points", "vae")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in KINDS],
)
def test_controls_have_names_and_a_phone_does_not_scroll_sideways(visit, name):
    page = visit(name, 360)
    fill_in(page, KINDS[name])
    for details in page.locator("details").all():
        details.evaluate("one => { one.open = true; }")
    assert page.evaluate(NAMELESS) == []
    widths = {}
    for width in (360, 390, 800, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        widths[width] = page.evaluate("document.documentElement.scrollWidth")
    assert widths == {width: width for width in widths}


def test_names_of_strangers_are_text(visit):
    page = visit("faces")  # its first label and its title are HTML
    fill_in(page, "image")
    assert page.inner_text(".lead") == EVIL
    assert page.inner_text(".result .label") == EVIL
    assert page.locator("img, main script").count() == 0
    page = visit("houses")  # a column is
    fill_in(page, "table")
    assert page.get_by_label(EVIL).count() == 1
    assert page.get_by_role("rowheader", name=EVIL.split("=")[0]).count() == 1
    assert page.locator("img").count() == 0


def test_a_busy_server_is_asked_again_once_and_what_was_typed_stays(visit, server):
    page = visit("reviews,seed=1")
    full = (503, {"Retry-After": "0.05"}, {"error": "too many requests; try again later"})
    server.answers = [full]
    page.get_by_label("Text").fill("a text")
    page.keyboard.press("Control+Enter")
    answer_of(page)
    assert len(server.asked) == 2
    server.answers = [full, full, None]
    page.keyboard.press("Control+Enter")
    alert = page.get_by_role("region", name="Answer").get_by_role("alert").first
    page.get_by_text("too many requests; try again later.").wait_for()
    assert len(server.asked) == 4
    assert page.get_by_label("Text").input_value() == "a text"
    server.answers = [(400, {}, {"error": f"instances[0]: {EVIL}"})]
    page.keyboard.press("Control+Enter")
    page.get_by_text(f"{EVIL}.").wait_for()
    assert alert.inner_text() == f"{EVIL}."
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("section[aria-busy=false] .answer")
    assert alert.inner_text() == ""


def test_without_a_server_one_sentence_says_so(visit, server):
    page = visit("reviews,seed=1")
    page.get_by_label("Text").fill("a text")
    page.route("**/*:predict", lambda route: route.abort())
    page.keyboard.press("Control+Enter")
    page.get_by_text("The server cannot be reached. Is kpipe serve still running?").wait_for()
    assert page.get_by_label("Text").input_value() == "a text"


def test_models_and_versions_are_chosen_and_drafts_stay(visit, server):
    page = visit("reviews,seed=1")
    page.get_by_label("Text").fill("not lost")
    page.get_by_label("Model").select_option("digits_mnist")
    page.wait_for_selector("h1:has-text('digits_mnist')")
    page.get_by_label("Version").select_option("1")
    page.wait_for_selector("text=version 1")
    page.locator("input[type=file]").set_input_files(uploads("one.png"))
    answer_of(page)
    assert server.asked[-1][0] == "/v1/models/digits_mnist/versions/1:predict"
    page.get_by_label("Model").select_option("reviews,seed=1")
    page.wait_for_selector("textarea")
    assert page.get_by_label("Text").input_value() == "not lost"
    page.reload()
    page.wait_for_selector("textarea")
    assert page.get_by_label("Text").input_value() == "not lost"


def test_a_new_version_answers_under_its_own_names(visit, server):
    page = visit("reviews,seed=1")
    page.get_by_label("Text").fill("first")
    page.keyboard.press("Control+Enter")
    answer_of(page)
    server.change("reviews,seed=1", labels=["bad", "good"])
    server.answers = [(400, {}, {"error": "instances[0]: of the new version"})]
    for text, label, number in [("second", "bad", 2), ("third", "poor", 2)]:
        page.get_by_label("Text").fill(text)
        page.get_by_label("Text").press("Control+Enter")
        page.get_by_text(f"The model has changed: this is version {number} now.").wait_for()
        until(page, f"document.querySelector('.answer .big')?.textContent == '{label}'")
        names = [name.inner_text() for name in page.locator(".bars tbody th").all()]
        assert label in names[0] and "negative" not in names[1]
        assert "version 2" in page.inner_text(".head")
        assert page.get_by_label("Text").input_value() == text
        server.change("reviews,seed=1", labels=["poor", "rich"])  # other files under the number
    texts = [content["instances"] for _, content in server.asked]
    assert texts == [["first"], ["second"], ["second"], ["third"], ["third"]]


def test_what_is_shown_of_several_images_is_asked_again_if_the_version_changes(visit, server):
    page = visit("faces")
    page.locator("input[type=file]").set_input_files(
        [*uploads("one.png", "two.png"), *uploads("wrong.png", content=b"no image")]
    )
    page.wait_for_selector(".list .bad")
    server.change("faces", labels=[f"new {i}" for i in range(12)])
    page.get_by_role("button", name="Explain").click()
    page.get_by_text("The model has changed: this is version 2 now.").wait_for()
    page.wait_for_selector(".list .bad")
    shown = [item.inner_text().split("\n")[-1] for item in page.locator(".list button").all()]
    assert shown == ["new 0", "new 0", "not an image of a known format."]


def test_latents_are_those_of_the_version_that_decodes(visit, server):
    page = visit("vae")
    page.wait_for_selector(".decoded canvas")
    server.change("vae", code_size=7, latents={"continuous": 4, "discrete": [3], "has_prior": True})
    page.get_by_label("Latent z1").fill("1")
    page.get_by_label("Latent z4").wait_for()
    page.wait_for_selector(".decoded canvas")
    assert server.asked[-1][1]["instances"] == [[0, 0, 0, 0, 1, 0, 0]]


def test_a_version_that_has_gone_is_said_to_be_none(visit, server):
    page = visit("digits_mnist&version=1")
    gone = {"error": "no version 1 of digits_mnist is served; expected one of: 2, 3"}
    page.route("**/versions/1*", lambda route: route.fulfill(json=gone, status=404))
    page.locator("input[type=file]").set_input_files(uploads("one.png"))
    page.get_by_text(gone["error"]).wait_for()


def test_a_model_that_is_not_served_is_said_to_be_none(visit, server):
    page = visit("points")
    page.goto(server.address + "#model=nothing")
    page.get_by_text("no model 'nothing' is served").wait_for()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("reviews,seed=1", "plain"),
        ("reviews,seed=1", 'it\'s "$HOME" `id` $(id)\nEND\n\\n %s ü 文'),
    ],
)
def test_the_command_for_a_shell_does_the_same(visit, server, name, text):
    if not shutil.which("curl"):
        pytest.skip("there is no curl")
    page = visit(name)
    page.get_by_label("Text").fill(text)
    page.keyboard.press("Control+Enter")
    answer_of(page)
    page.get_by_text("The same with curl").click()
    page.get_by_role("button", name="Copy").click()
    page.locator(".curl :text-matches('^(Copied|Selected)')").wait_for()
    command = page.locator(".curl code").first.text_content()
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=True)
    assert server.asked[0] == server.asked[1]
    assert json.loads(done.stdout)["predictions"][0]["label"] == "negative"


def test_the_command_for_an_image_reads_the_file(visit, server, tmp_path):
    if not shutil.which("curl"):
        pytest.skip("there is no curl")
    name = "it's $a `photo`.png"
    (tmp_path / name).write_bytes(noise(64))
    page = visit("faces")
    page.locator("input[type=file]").set_input_files(tmp_path / name)
    answer_of(page)
    page.get_by_role("combobox", name="Explanation of").select_option(page_server.SHELL)
    page.get_by_role("button", name="Explain").click()
    page.wait_for_selector(".explanations .curl")
    predicted, explained = server.asked
    assert explained[1]["target"] == page_server.SHELL
    for code in page.locator(".curl code").all():
        command = code.text_content()
        assert len(command) < 300
        subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=True)
    assert server.asked[2:] == [predicted, explained]


DROP_OF_A_PAGE = """(text) => {
  const transfer = new DataTransfer();
  const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  transfer.setData("text/html", "<img src=photo.png>");
  transfer.items.add(new File([bytes], "photo.png", { type: "image/png" }));
  const init = { dataTransfer: transfer, bubbles: true, cancelable: true };
  document.body.dispatchEvent(new DragEvent("drop", init));
}"""


@pytest.mark.parametrize("bring", [PASTE, DROP_OF_A_PAGE], ids=["pasted", "of another page"])
def test_the_command_for_an_image_that_is_no_file_contains_it(visit, server, tmp_path, bring):
    if not shutil.which("curl"):
        pytest.skip("there is no curl")
    page = visit("faces")
    page.evaluate(bring, encoded(noise(64)))
    answer_of(page)
    command = page.locator(".curl code").text_content()
    subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=True)
    assert server.asked[0] == server.asked[1]
    page.evaluate(bring, encoded(noise(200)))  # too long to be copied
    until(page, "!document.querySelector('.curl')")
    answer_of(page)
    assert len(server.asked) == 3


def test_numbers_are_written_as_in_the_report(visit):
    page = visit("points")
    values = [0.98312, 0.0, 1.0, 43.985215, 24040.915, 0.00123, 5.5, 141.14382]
    metrics = ["accuracy", "unsupervised_accuracy", "macro_f1", "psnr", "mae", "bound", "r2"]
    written = page.evaluate(
        "([metrics, values]) => import('./page/head.js').then(({ measured }) =>"
        " metrics.map((metric) => values.map((value) => measured(metric, value, false))))",
        [metrics, values],
    )
    expected = [[formatting.number(m, value, unit=False) for value in values] for m in metrics]
    assert written == expected


LARGE = """(selector) => {
  const head = new DataView(new ArrayBuffer(54));  // of a BMP file with 1600 x 1400 pixels
  [[0, 0x4d42], [26, 1], [28, 24]].forEach(([at, value]) => head.setUint16(at, value, true));
  [[2, 6720054], [10, 54], [14, 40], [18, 1600], [22, 1400]].forEach(([at, value]) =>
    head.setUint32(at, value, true));
  const [green, nothing] = [new Uint8Array(6720000).fill(90), new Uint8Array(6100000)];
  const transfer = new DataTransfer();
  transfer.items.add(new File([head, green], "photo.bmp", { type: "image/bmp" }));
  transfer.items.add(new File([nothing], "nothing.png", { type: "image/png" }));
  const init = { dataTransfer: transfer, bubbles: true, cancelable: true };
  document.querySelector(selector).dispatchEvent(new DragEvent("drop", init));
}"""


def test_a_photograph_that_is_too_large_is_made_smaller_and_other_files_are_refused(visit, server):
    page = visit("faces")
    page.evaluate(LARGE, "main")
    page.wait_for_selector(".list .bad")
    assert "6.1 MB; expected at most 6.0 MB." in page.inner_text(".list")
    (instance,) = server.asked[-1][1]["instances"]
    sent = page_server._pixels(instance["b64"], 0)
    assert (sent.format, sent.size) == ("JPEG", (1600, 1400))
    assert sent.convert("RGB").getpixel((9, 9)) == pytest.approx((90, 90, 90), abs=2)
    assert "Sent as a smaller JPEG" in page.inner_text(".answer")
    command = page.locator(".curl code").text_content()
    assert instance["b64"] in command and "photo.bmp" not in command  # which is another image


def test_requests_keep_to_the_limits_that_the_server_tells(visit, server):
    server.limits = {"body": 60_000, "pixels": 9_000, "instances": 3, "deadline": 0.1}
    page = visit("faces")
    many = [*uploads(*"abcdefgh"), *uploads("large.png", content=png(size=(400, 30)))]
    many += uploads("heavy.png", content=noise(90))
    page.locator("input[type=file]").set_input_files(many)
    page.wait_for_selector("section[aria-label=Answer][aria-busy=false] .list")
    assert page.locator(".list .bad").count() == 0
    sent = [[page_server._pixels(one["b64"], 0) for one in body["instances"]]
            for _, body in server.asked]  # fmt: skip
    assert [len(each) for each in sent] == [3, 3, 3, 1]
    *_, large, heavy = (image for each in sent for image in each)
    assert (large.format, large.size) == ("JPEG", (346, 25))
    assert (heavy.format, heavy.size) == ("PNG", (90, 90))
    server.limits = {**server.limits, "body": 20_000}
    page = visit("faces")
    page.locator("input[type=file]").set_input_files(uploads("heavy.png", content=noise(90)))
    answer_of(page)
    smaller = page_server._pixels(server.asked[-1][1]["instances"][0]["b64"], 0)
    assert smaller.format == "JPEG" and smaller.width in (90, 45)


def test_the_page_waits_as_long_as_the_server_has_for_an_answer(visit, server):
    server.limits = {**server.limits, "deadline": 500.0}
    page = visit("points")
    waited = page.evaluate(
        "() => new Promise((resolve) => { AbortSignal.timeout = (time) => { resolve(time);"
        " return new AbortController().signal; };"
        " import('./page/api.js').then(({ listModels }) => listModels()); })"
    )
    assert waited > 500_000


def test_motion_is_reduced_on_request(visit):
    page = visit("points")
    fill_in(page, "array")
    duration = "getComputedStyle(document.querySelector('.bar')).transitionDuration"
    assert page.evaluate(duration) == "0.2s"
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(duration) == "0s"
    page.emulate_media(reduced_motion="no-preference")


@pytest.mark.slow
def test_models_that_are_being_loaded_are_awaited(tab, visit, server):
    tab.route("**/v1/models", lambda route: route.fulfill(json={"models": []}), times=1)
    busy = {"error": "points is being loaded; try again later"}
    retry = {"Retry-After": "0.01"}
    answer = lambda route: route.fulfill(json=busy, status=503, headers=retry)  # noqa: E731
    tab.route("**/about", answer, times=2)  # the first request, and its repetition
    page = visit("points")
    fill_in(page, "array")


@pytest.mark.slow
def test_the_page_of_a_real_server(tab, finished_run):
    """A drawn digit is answered and explained, within the server's own security policy."""
    pytest.importorskip("kpipe.serving.app")
    code = "import sys; from kpipe.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "serve", str(finished_run.folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            lines = (re.match(r"http://[^ ]+", line) for line in process.stdout)
            found = next(filter(None, lines), None)
            assert found, "the server has ended"
            address = found[0]
            tab.complaints.clear()
            tab.visited.clear()
            tab.goto(address + "/")
            tab.wait_for_selector("h1")
            assert "SAMPLE DATA" in tab.inner_text(".banner")
            tab.get_by_label("Drawing area").focus()
            for key in ("Space", *["ArrowDown"] * 8, "Enter"):
                tab.keyboard.press(key)
            answer_of(tab)
            assert tab.locator(".bars tbody tr").count() == 10
            if tab.get_by_role("button", name="Explain").count():
                tab.get_by_role("button", name="Explain").click()
                tab.wait_for_selector(".explanations canvas, .explaining .alert", timeout=30_000)
                assert tab.locator(".explaining .alert").count() == 0
            assert tab.complaints == []
            assert all(url.startswith((address, "blob:", "data:")) for url in tab.visited)
        finally:
            process.terminate()
            said, _ = process.communicate(timeout=60)
    assert (process.returncode, said.splitlines()[-1]) == (0, "stopped")
