import zlib

import numpy as np
import pytest

from kpipe.datasets.samples import faces

# Shares of the 202,599 photographs of CelebA, in per cent.
CELEBA_SHARES = {
    "5_o_Clock_Shadow": 11.1, "Arched_Eyebrows": 26.7, "Attractive": 51.3,
    "Bags_Under_Eyes": 20.5, "Bald": 2.2, "Bangs": 15.2, "Big_Lips": 24.1, "Big_Nose": 23.5,
    "Black_Hair": 23.9, "Blond_Hair": 14.8, "Blurry": 5.1, "Brown_Hair": 20.5,
    "Bushy_Eyebrows": 14.2, "Chubby": 5.8, "Double_Chin": 4.7, "Eyeglasses": 6.5, "Goatee": 6.3,
    "Gray_Hair": 4.2, "Heavy_Makeup": 38.7, "High_Cheekbones": 45.5, "Male": 41.7,
    "Mouth_Slightly_Open": 48.3, "Mustache": 4.2, "Narrow_Eyes": 11.5, "No_Beard": 83.5,
    "Oval_Face": 28.4, "Pale_Skin": 4.3, "Pointy_Nose": 27.7, "Receding_Hairline": 8.0,
    "Rosy_Cheeks": 6.6, "Sideburns": 5.7, "Smiling": 48.2, "Straight_Hair": 20.8,
    "Wavy_Hair": 32.0, "Wearing_Earrings": 18.9, "Wearing_Hat": 4.8, "Wearing_Lipstick": 47.2,
    "Wearing_Necklace": 12.3, "Wearing_Necktie": 7.3, "Young": 77.4,
}  # fmt: skip

# Rows, as parts of the height, within which nine tenths of what an attribute changes must lie.
CHANGED_ROWS = {
    "5_o_Clock_Shadow": (0.5, 0.9),
    "Arched_Eyebrows": (0.25, 0.55),
    "Bags_Under_Eyes": (0.4, 0.65),
    "Big_Lips": (0.55, 0.9),
    "Big_Nose": (0.45, 0.75),
    "Bushy_Eyebrows": (0.25, 0.55),
    "Eyeglasses": (0.3, 0.65),
    "Goatee": (0.6, 0.95),
    "Mouth_Slightly_Open": (0.55, 0.9),
    "Mustache": (0.5, 0.8),
    "Rosy_Cheeks": (0.4, 0.8),
    "Wearing_Earrings": (0.45, 0.8),
    "Wearing_Hat": (0.0, 0.5),
    "Wearing_Lipstick": (0.55, 0.9),
    "Wearing_Necklace": (0.65, 1.0),
    "Wearing_Necktie": (0.7, 1.0),
}


@pytest.fixture(scope="module")
def painted():
    """Three thousand faces of 32 pixels: pictures and a column for each attribute."""
    images, attributes = faces.paint(3000, seed=1, size=32)
    return images, dict(zip(faces.ATTRIBUTES, attributes.T, strict=True))


@pytest.fixture
def with_and_without(monkeypatch):
    """Paints the same people twice, as int: all with an attribute, and all without."""
    draw = faces._draw_attributes

    def paint(name, **options):
        pictures = []
        for flag in (True, False):
            flags = dict.fromkeys(faces._HAIR, False) if name in faces._HAIR else {}
            flags = {key: np.full(faces._BLOCK, it) for key, it in (flags | {name: flag}).items()}
            monkeypatch.setattr(faces, "_draw_attributes", lambda dice, f=flags: draw(dice) | f)
            pictures.append(faces.paint(40, seed=2, **options)[0].astype(int))
        return pictures

    return paint


def test_the_forty_names_stand_in_the_order_of_celeba():
    assert len(faces.ATTRIBUTES) == len(set(faces.ATTRIBUTES)) == 40
    assert sorted(CELEBA_SHARES) == list(faces.ATTRIBUTES)


@pytest.mark.parametrize(("count", "size"), [(0, 64), (1, 16), (5, 45), (3, 128)])
def test_shapes_and_types(count, size):
    images, attributes = faces.paint(count, size=size)
    assert images.shape == (count, size, size, 3) and images.dtype == np.uint8
    assert attributes.shape == (count, 40) and attributes.dtype == bool


@pytest.mark.parametrize("wrong", [{"count": -1}, {"size": 15}, {"seed": -1}, {"seed": 2**32}])
def test_arguments_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        faces.paint(**{"count": 1} | wrong)


def test_the_bytes_are_the_same_on_every_machine():
    """The sums are those of NumPy 1.26, 2.0 and 2.4; only new pictures may change them."""
    images, attributes = faces.paint(12, seed=3)
    assert (zlib.crc32(images), zlib.crc32(attributes)) == (3499365269, 3251036563)


def test_another_seed_shows_other_people():
    (images, attributes), (others, their_attributes) = faces.paint(8), faces.paint(8, seed=1)
    assert all((image != other).mean() > 0.5 for image, other in zip(images, others, strict=True))
    assert (attributes != their_attributes).any(axis=1).all()
    assert len(np.unique(images.reshape(8, -1), axis=0)) == 8


@pytest.mark.parametrize("size", [16, 37])
def test_a_face_does_not_depend_on_how_many_are_painted(size):
    images, attributes = faces.paint(600, seed=4, size=size)
    for count in (1, 70, 256, 300):
        fewer, their_attributes = faces.paint(count, seed=4, size=size)
        np.testing.assert_array_equal(fewer, images[:count])
        np.testing.assert_array_equal(their_attributes, attributes[:count])


def test_another_size_shows_the_same_people():
    images, attributes = faces.paint(60, size=64)
    small, their_attributes = faces.paint(60, size=32)
    np.testing.assert_array_equal(attributes, their_attributes)
    shrunk = images.reshape(60, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    difference = np.abs(shrunk - small).mean(axis=(1, 2, 3))
    others = np.abs(shrunk - np.roll(small, 1, axis=0)).mean(axis=(1, 2, 3))
    assert difference.max() < 10 < np.median(others)


@pytest.mark.parametrize("size", [16, 64])
def test_no_part_is_cut_off_by_its_box(monkeypatch, size):
    images, _ = faces.paint(256, seed=5, size=size)
    everywhere = tuple((part, (-5, -5, 5, 5), shown) for part, _, shown in faces._PARTS)
    monkeypatch.setattr(faces, "_PARTS", everywhere)
    np.testing.assert_array_equal(faces.paint(256, seed=5, size=size)[0], images)


# --- attributes -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", faces.ATTRIBUTES)
def test_an_attribute_is_as_frequent_as_in_celeba(painted, name):
    share = 100 * painted[1][name].mean()
    assert share == pytest.approx(CELEBA_SHARES[name], rel=0.15, abs=1.5)
    assert 1 <= share <= 99


def test_what_excludes_each_other_never_meets(painted):
    has = painted[1]
    colours = sum(has[name].astype(int) for name in ("Black_Hair", "Blond_Hair", "Brown_Hair"))
    assert (colours + has["Gray_Hair"]).max() == 1
    beards = [has[name] for name in ("5_o_Clock_Shadow", "Goatee", "Mustache", "Sideburns")]
    np.testing.assert_array_equal(has["No_Beard"], ~np.any(beards, axis=0))
    for one, other in [
        ("Bald", "Bangs"),
        ("Bald", "Wavy_Hair"),
        ("Bald", "Brown_Hair"),
        ("Straight_Hair", "Wavy_Hair"),
        ("Gray_Hair", "Young"),
        ("Receding_Hairline", "Bangs"),
    ]:
        assert not (has[one] & has[other]).any(), f"{one} and {other}"


def test_what_belongs_together_comes_together(painted):
    has = painted[1]
    for one, other in [
        ("Smiling", "High_Cheekbones"),
        ("Smiling", "Mouth_Slightly_Open"),
        ("Attractive", "Young"),
        ("Chubby", "Double_Chin"),
        ("Heavy_Makeup", "Wearing_Lipstick"),
        ("Goatee", "Mustache"),
    ]:
        assert np.corrcoef(has[one], has[other])[0, 1] > 0.2, f"{one} and {other}"


def test_beards_are_men_s_and_lipstick_is_women_s(painted):
    has = painted[1]
    men, women = has["Male"], ~has["Male"]
    assert has["No_Beard"][women].all() and not has["Bald"][women].any()
    assert 0.3 < (~has["No_Beard"])[men].mean() < 0.5
    for name in ("Wearing_Necktie", "Receding_Hairline", "Big_Nose", "Bushy_Eyebrows"):
        assert has[name][men].mean() > 3 * has[name][women].mean(), name
    for name in ("Wearing_Lipstick", "Heavy_Makeup", "Rosy_Cheeks", "Arched_Eyebrows"):
        assert has[name][women].mean() > 5 * has[name][men].mean(), name


# --- pictures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(faces.ATTRIBUTES) - {"No_Beard"}))
def test_an_attribute_is_seen(with_and_without, name):
    with_it, without = with_and_without(name, size=32)
    changed = np.abs(with_it - without).max(axis=3) > 12
    assert (changed.sum(axis=(1, 2)) >= 2).mean() > 0.6  # a hat may hide hair, blur a brow


@pytest.mark.parametrize("name", CHANGED_ROWS)
def test_an_attribute_is_seen_where_it_belongs(with_and_without, name):
    with_it, without = with_and_without(name)
    change = np.abs(with_it - without).sum(axis=(0, 2, 3))
    top, bottom = (round(64 * row) for row in CHANGED_ROWS[name])
    assert change[top:bottom].sum() > 0.9 * change.sum()


def test_an_absent_part_leaves_no_trace(with_and_without):
    with_it, without = with_and_without("Wearing_Necktie")
    np.testing.assert_array_equal(with_it[:, :32], without[:, :32])


def test_colours_are_those_of_the_attributes(painted):
    images, has = painted
    images = images.astype(float)
    redness = images[..., 0] - images[..., 1:].mean(axis=3)
    crown, seen = np.s_[:, 4:9, 12:20], ~has["Wearing_Hat"] & ~has["Bald"]

    def difference(values, name, among=True):
        return values[has[name] & among].mean() - values[~has[name] & among].mean()

    assert difference(images[:, 12:24, 10:22], "Pale_Skin") > 15
    assert difference(images[crown], "Blond_Hair", seen) > 20
    assert difference(images[crown], "Black_Hair", seen) < -20
    assert difference(redness[crown], "Gray_Hair", seen) < -15


@pytest.mark.parametrize("name", ["Wearing_Lipstick", "Rosy_Cheeks"])
def test_what_is_painted_red_is_redder(with_and_without, name):
    with_it, without = with_and_without(name)
    change = with_it - without
    redder = change[..., 0] - change[..., 1:].mean(axis=3)
    assert redder[np.abs(change).max(axis=3) > 12].mean() > 10


def test_blurry_pictures_are_blurred(with_and_without):
    blurry, sharp = with_and_without("Blurry")

    def detail(images):  # the grain lies on both
        return np.abs(np.diff(images.mean(axis=3), axis=2)).mean(axis=(1, 2))

    assert (detail(blurry) < 0.8 * detail(sharp)).mean() > 0.9


def test_sex_is_seen_only_in_part(painted):
    """A linear model finds a good deal of it, and must leave something to be learned."""
    images, has = painted
    pixels = images.reshape(3000, 16, 2, 16, 2, 3).mean(axis=(2, 4)).reshape(3000, -1)
    pixels = (pixels - pixels.mean(axis=0)) / pixels.std(axis=0)
    train, test, target = pixels[:2400], pixels[2400:], 2 * has["Male"] - 1.0
    ridge = train.T @ train + 1000 * np.eye(train.shape[1])
    weights = np.linalg.solve(ridge, train.T @ target[:2400])
    accuracy = ((test @ weights > 0) == has["Male"][2400:]).mean()
    assert 0.7 < accuracy < 0.92
