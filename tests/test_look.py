"""The look at a user's own data: its lines in a terminal and its page, of looks made up here."""

import dataclasses
import html.parser
import re

import pytest

from kpipe import report
from kpipe.datasets import Look
from kpipe.datasets.look import ColumnLook, Copies

PHOTOS = Look(
    name="photos",
    what="images",
    task="classification",
    reason="a folder for each class",
    examples={"train": 962, "test": 241},
    divided="at random, stratified by class",
    classes={"cat": {"train": 700, "test": 175}, "emu": {"train": 262, "test": 66}},
    sizes={"width in pixels": (48, 320, 640, 1024, 6000), "height in pixels": (64,) * 5},
    formats={"JPEG": 1200, "PNG, 16 bits": 3},
    converted={"grey to RGB": 31},
    unreadable=(("cat/a.jpg", "it is cut off"), ("emu/b.png", "no image")),
    copies=Copies(13, 4, 2, (("cat/1.jpg", "emu/1 (copy).jpg"),)),
    warnings=("2 images have a copy with another label: " + "cat/1.jpg, " * 12 + "emu/1.jpg.",),
    notes=("Images are resized.",),
)
HOUSES = Look(
    name="houses",
    what="rows",
    task="regression",
    reason="price has 811 different values",
    examples={"train": 900, "test": 100},
    divided="by group: no patient is on both sides",
    values=(14999, 119600, 179700, 264725.5, 500001),
    columns=(
        ColumnLook("age", "number", 200, 70, "17 to 90, median 37"),
        ColumnLook("price", "target", 0, 811, "14,999 to 500,001"),
        ColumnLook("id", "left out: identifier", 1, 1000, "C-1"),
        ColumnLook("patient", "group", 0, 300),
    ),
)


class Page(html.parser.HTMLParser):
    """The visible text and the tags of a page; unbalanced tags are an error."""

    def __init__(self, source: str):
        super().__init__()
        self.words, self.tags, self.open = [], [], []
        self.feed(source)
        self.close()
        assert not self.open
        self.text = " ".join("".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.words.append("" if tag == "wbr" else " ")
        if tag not in ("meta", "link", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if self.open[-1:] not in (["style"], ["title"]):
            self.words.append(text)


def text_of(look) -> str:
    return Page(report.look.sections(look)).text


def test_a_terminal_shows_what_was_found_and_warnings_last():
    lines = report.look.lines(PHOTOS)
    assert lines[:5] == [
        "photos: 1,203 images",
        "  task        classification: a folder for each class",
        "  splits      962 train, 241 test (val is taken from train); at random, stratified by",
        "              class",
        "  classes     2: cat (875), emu (328)",
    ]
    assert max(map(len, lines)) <= 88
    said = " ".join(" ".join(lines).split())
    for expected in (
        "balance the largest is 2.67 times the smallest; class_weight=balanced compensates",
        "sizes width in pixels 48 to 6,000 (median 640), height in pixels always 64",
        "formats JPEG (1,200), PNG, 16 bits (3) converted grey to RGB (31)",
        "copies 13 exact, 4 similar, 2 with another label",
        "unreadable 2 left out: cat/a.jpg (it is cut off), emu/b.png (no image)",
    ):
        assert expected in said, expected
    assert said.endswith("WARNING: " + PHOTOS.warnings[0])


def test_a_terminal_shows_the_columns_of_a_table():
    assert report.look.lines(HOUSES) == [
        "houses: 1,000 rows",
        "  task        regression: price has 811 different values",
        "  splits      900 train, 100 test (val is taken from train); by group: no patient is on",
        "              both sides",
        "  target      14,999 to 500,001 (median 179,700)",
        "  inputs      age",
        "  left out    id (identifier)",
        "  missing     age (20.0 %)",
    ]


def many() -> Look:
    """A look with 1,200 classes, 500 columns, 300 unreadable files, and long names."""
    return dataclasses.replace(
        PHOTOS,
        name="n" * 300,
        classes={f"class {i} {'long ' * 50}": {"train": i + 1, "test": 1} for i in range(1200)},
        columns=tuple(
            ColumnLook(f"column {i} {'x' * 300}", "number" if i % 2 else "left out: constant", 1)
            for i in range(500)
        ),
        unreadable=tuple((f"file {i}", "no image") for i in range(300)),
        warnings=(),
    )


def test_a_terminal_has_few_lines_whatever_there_is():
    lines = report.look.lines(many())
    assert len(lines) <= 26 and max(map(len, lines)) <= 88
    said = " ".join(" ".join(lines).split())
    assert "1,200: class 1199 long long l... (1,201), class 1198" in said
    assert "class 0 long long long... (2)" in said
    assert re.search(r"unreadable 300 left out: file 0 \(no image\), .* and 29\d more", said)


@pytest.mark.parametrize("look", [PHOTOS, HOUSES, many(), Look("empty", "texts")])
def test_the_page_is_one_file_that_needs_nothing(look, tmp_path):
    path = report.look.write_look(look, tmp_path / "look.html")
    assert [*tmp_path.iterdir()] == [path]
    source = path.read_text("utf-8")
    page = Page(source)
    assert "script" not in page.tags and page.tags.count("link") == 1
    assert not re.search(r"https?://|url\(|@import", source)
    assert f"<title>{look.name[:97]}" in source and "a look at the data" in page.text
    assert "nan" not in source.lower().split("<main>")[1]


def test_a_page_shows_everything_that_was_found():
    text = text_of(PHOTOS)
    for expected in (
        "WARNING 2 images have a copy with another label",
        "Examples 1,203 images Task classification: a folder for each class",
        "Classes 2; the largest is 2.67 times the smallest; class_weight=balanced compensates",
        "Images of each: train test cat 875 72.7 % emu 328 27.3 %",
        "width in pixels, logarithmic scale min 48 25 % 320 median 640 75 % 1,024 max 6,000",
        "height in pixels always 64",
        "format images JPEG 1,200 PNG, 16 bits 3 conversion images grey to RGB 31",
        "example its copy cat/1.jpg emu/1 (copy).jpg",
        "cat/a.jpg it is cut off emu/b.png no image",
        "Notes Images are resized.",
    ):
        assert expected in text, expected
    text = text_of(HOUSES)
    for expected in (
        "Inputs 1 of 4 columns Columns left out id (identifier) Missing values 201 in 2 columns",
        "Target price min 14,999 25 % 119,600 median 179,700 75 % 264,725.5 max 500,001",
        "price target none 811 14,999 to 500,001 patient group none 300 id left out: identifier "
        "1 (0.1 %) 1,000 C-1 age number 200 (20.0 %) 70 17 to 90, median 37",
    ):
        assert expected in text, expected
    assert "Classes" not in text and "Formats" not in text


def test_what_is_cut_off_a_page_is_said():
    source = report.look.sections(many())
    text = Page(source).text
    assert "1,176 classes between" in text and "1,000 of 1,200 classes" in text
    assert "All 500 columns" in text and "All 300 unreadable ones" in text
    assert len(re.findall(r"file \d+", text)) == 300  # all of them, by name
    assert source.count('class="bar"') < 1000


def test_names_are_shown_and_not_interpreted():
    name = "<script>alert('x')</script> & \x1b[31mred\udcff\nline"
    look = dataclasses.replace(
        PHOTOS,
        name=name,
        divided=name,
        classes={name: {name: 1}},
        columns=(ColumnLook(name, f"left out: {name}", 1, 2, name),),
        sizes={name: (1, 2, 3, 4, 5)},
        formats={name: 1},
        converted={name: 1},
        unreadable=((name, name),),
        copies=Copies(1, 1, 1, ((name, name),)),
        warnings=(name,),
        notes=(name,),
    )
    page = Page(report.look.sections(look))
    assert "script" not in page.tags
    shown = "<script>alert('x')</script> & ?[31mred? line"
    assert page.text.count(shown) >= 14
    assert "".join(report.look.lines(look)).isprintable()


def test_a_box_of_values_of_which_most_are_small_is_logarithmic():
    def median_at(five):
        look = dataclasses.replace(HOUSES, values=five)
        return float(re.search(r'<b style="left:([\d.]+)%"', report.look.sections(look))[1])

    assert median_at((0, 5, 50, 75, 100)) == 50
    assert median_at((1, 5, 10, 20, 100)) == 50
    assert 30 < median_at((0, 12, 24, 61, 2210)) < 50
    assert median_at((-100, -5, 0, 5, 100)) == 50


def test_an_empty_class_is_told_without_a_ratio():
    look = dataclasses.replace(PHOTOS, classes={"cat": {"train": 3}, "emu": {"train": 0}})
    assert "Classes 2; a class has no examples" in text_of(look)
    alike = dataclasses.replace(PHOTOS, classes={"cat": {"train": 4}, "emu": {"train": 2}})
    assert "times the smallest" not in text_of(alike)
