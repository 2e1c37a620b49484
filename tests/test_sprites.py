import dataclasses
import hashlib
import json

import h5py
import numpy as np
import pytest
import tensorflow_datasets as tfds

from kpipe import data
from kpipe.datasets.dsprites import SAMPLE_EXAMPLES, dsprites
from kpipe.datasets.samples import sprites
from kpipe.errors import UserError

SQUARE, ELLIPSE, HEART = range(3)
SMALL = {"train": 1100, "val": 20, "test": 30}


@pytest.fixture(scope="module")
def stamps():
    """All 720 sprites in the middle place: bool (shape, scale, orientation, 64, 64)."""
    return _varied(x=16, y=16).reshape(3, 6, 40, 64, 64)


def _varied(**fixed):
    """White pixels for all values of the factors that are not fixed: bool (n, 64, 64)."""
    values = [
        [fixed[name]] if name in fixed else range(size)
        for name, size in zip(sprites.FACTORS, sprites.SIZES, strict=True)
    ]
    factors = np.stack(np.meshgrid(*values, indexing="ij"), axis=-1).reshape(-1, 5)
    return sprites.paint(factors)[..., 0] > 0


def _centre(white):
    """Centre of mass of each image, (n, 2): x to the right and y downwards."""
    area = white.sum(axis=(-2, -1))
    pixel = np.arange(64)
    x = (white.sum(axis=-2) * pixel).sum(axis=-1) / area
    y = (white.sum(axis=-1) * pixel).sum(axis=-1) / area
    return np.stack([x, y], axis=-1)


def _spread(white):
    """Variances of x and y of the white pixels, and their covariance: each (n,)."""
    rows, columns = np.indices((64, 64))
    centre = _centre(white)[:, :, None, None]
    area = white.sum(axis=(1, 2))
    x, y = columns - centre[:, 0], rows - centre[:, 1]
    return tuple((white * product).sum(axis=(1, 2)) / area for product in (x * x, y * y, x * y))


# --- indices ----------------------------------------------------------------------------------


def test_indices_and_factors_are_inverse():
    indices = np.arange(737_280)
    factors = sprites.factors_of(indices)
    assert factors.dtype == np.int64 and factors.shape == (737_280, 5)
    assert (factors.min(axis=0) == 0).all() and (factors.max(axis=0) + 1 == sprites.SIZES).all()
    np.testing.assert_array_equal(sprites.index_of(factors), indices)


def test_the_last_factor_varies_fastest():
    expected = [[0, 0, 0, 0, 1], [0, 0, 0, 1, 0], [0, 0, 1, 0, 0], [0, 1, 0, 0, 0], [1, 0, 0, 0, 0]]
    np.testing.assert_array_equal(sprites.factors_of([1, 32, 1024, 40_960, 245_760]), expected)


@pytest.mark.parametrize("index", [-1, 737_280])
def test_an_index_that_there_is_not_is_refused(index):
    with pytest.raises(ValueError, match="out of bounds"):
        sprites.factors_of(np.array([index]))


@pytest.mark.parametrize("factor", range(5))
@pytest.mark.parametrize("too", ["low", "high"])
def test_a_value_that_there_is_not_is_refused(factor, too):
    factors = np.zeros((3, 5), int)
    factors[1, factor] = -1 if too == "low" else sprites.SIZES[factor]
    with pytest.raises(ValueError, match=r"factors=\[.*\] are not all from 0 to"):
        sprites.paint(factors)
    with pytest.raises(ValueError, match="invalid entry"):
        sprites.index_of(factors)


@pytest.mark.parametrize("shape", [(5,), (2, 4)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="have the shape"):
        sprites.paint(np.zeros(shape, int))


# --- images -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 5000])
def test_images_are_black_and_white(count):
    images = sprites.paint(sprites.factors_of(np.arange(count) * 147))
    assert images.shape == (count, 64, 64, 1) and images.dtype == np.uint8
    assert np.isin(images, (0, 255)).all()
    assert images.any(axis=(1, 2, 3)).all()


def test_the_bytes_are_known():
    images = sprites.paint(sprites.factors_of(np.arange(0, 737_280, 997)))
    digest = "4d66111720361be40b92ba6417ece9598e462393f39d0de0447035a0457cb20e"
    assert hashlib.sha256(images.tobytes()).hexdigest() == digest


def test_an_image_does_not_depend_on_those_painted_with_it(monkeypatch):
    factors = sprites.factors_of(np.random.RandomState(0).randint(737_280, size=300))
    together = sprites.paint(factors)
    alone = np.concatenate([sprites.paint(factors[i : i + 1]) for i in range(300)])
    np.testing.assert_array_equal(alone, together)
    monkeypatch.setattr(sprites, "_CHUNK", 7)
    np.testing.assert_array_equal(sprites.paint(factors), together)


def test_all_sprites_differ_but_those_of_a_whole_turn(stamps):
    np.testing.assert_array_equal(stamps[:, :, 0], stamps[:, :, 39])
    kinds = set()
    for stamp in stamps[:, :, :39].reshape(-1, 64, 64):
        # Without its margins: then no place makes two of them the same.
        rows, columns = np.flatnonzero(stamp.any(axis=1)), np.flatnonzero(stamp.any(axis=0))
        cut = stamp[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        kinds.add((cut.shape, cut.tobytes()))
    assert len(kinds) == 3 * 6 * 39


def test_as_much_is_white_as_in_dsprites(stamps):
    assert 0.042 < stamps.mean() < 0.044


def test_larger_scales_have_more_white_pixels(stamps):
    area = stamps.sum(axis=(3, 4))
    assert (np.diff(area, axis=1) > 0).all()
    np.testing.assert_allclose(area[:, 0] / area[:, 5], 0.25, atol=0.02)


def test_shapes_have_the_sizes_they_are_drawn_with(stamps):
    area = stamps[:, 5].mean(axis=1).sum(axis=(1, 2))
    np.testing.assert_allclose(area, [18.2**2, np.pi * 13 * 6.5, 3.66 * 81], rtol=0.01)


@pytest.mark.parametrize("shape", [SQUARE, ELLIPSE, HEART])
def test_x_moves_right_and_y_moves_down_by_a_pixel(shape):
    factors = {"shape": shape, "scale": 3, "orientation": 5}
    for axis, other in enumerate("yx"):
        centres = _centre(_varied(**factors | {other: 9}))
        np.testing.assert_allclose(np.diff(centres[:, axis]), 1)
        np.testing.assert_allclose(np.diff(centres[:, 1 - axis]), 0, atol=1e-9)


def test_the_middle_of_all_places_is_the_middle_of_the_picture(stamps):
    centres = (_centre(_varied(x=0, y=0)) + _centre(_varied(x=31, y=31))) / 2
    np.testing.assert_allclose(centres, 31.5 + 5 / 16, atol=0.32)


def test_nothing_is_cut_off():
    corners = [_varied(scale=5, x=x, y=y) for x in (0, 31) for y in (0, 31)]
    for white in corners:
        edges = np.stack([white[:, 0], white[:, -1], white[:, :, 0], white[:, :, -1]])
        assert not edges.any()
    areas = [white.sum(axis=(1, 2)) for white in corners]
    for area in areas:
        np.testing.assert_array_equal(area, areas[0])


def test_an_upright_square_is_a_square(stamps):
    for white in stamps[SQUARE, :, 0]:
        height, width = white.any(axis=1).sum(), white.any(axis=0).sum()
        assert height == width and white.sum() == height * width


def test_about_a_pixel_only_the_square_is_the_same_after_a_quarter_turn(monkeypatch):
    monkeypatch.setattr(sprites, "_OFF_CENTRE", 0)
    stamps = sprites._stamps.__wrapped__()
    quarter, half = (np.rot90(stamps, turns, axes=(3, 4)) for turns in (1, 2))
    np.testing.assert_array_equal(quarter[SQUARE], stamps[SQUARE])
    np.testing.assert_array_equal(half[ELLIPSE], stamps[ELLIPSE])
    assert (quarter[ELLIPSE] != stamps[ELLIPSE]).any(axis=(2, 3)).all()
    assert (half[HEART] != stamps[HEART]).any(axis=(2, 3)).all()


def test_the_square_spreads_alike_in_all_directions_and_the_ellipse_does_not(stamps):
    for shape, ratio in ((SQUARE, 1), (ELLIPSE, 4)):
        xx, yy, xy = _spread(stamps[shape, 5])
        root = np.sqrt((xx - yy) ** 2 + 4 * xy**2)
        np.testing.assert_allclose((xx + yy + root) / (xx + yy - root), ratio, rtol=0.12)


@pytest.mark.parametrize("scale", range(6))
def test_orientations_turn_the_ellipse_clockwise_once(stamps, scale):
    xx, yy, xy = _spread(stamps[ELLIPSE, scale])
    twice = np.unwrap(np.arctan2(2 * xy, xx - yy))  # an ellipse's axis has no direction
    np.testing.assert_allclose(twice / 2, np.linspace(0, 2 * np.pi, 40), atol=0.06)


def test_orientations_turn_the_heart_clockwise_once(stamps):
    white = stamps[HEART, 5]
    centre = _centre(white)[:, :, None, None]
    rows, columns = np.indices((64, 64))
    x, y = columns - centre[:, 0], rows - centre[:, 1]
    far = white * (x * x + y * y)  # far from the centre, most of the heart is in its lobes
    angle = np.unwrap(np.arctan2((far * y).sum(axis=(1, 2)), (far * x).sum(axis=(1, 2))))
    np.testing.assert_allclose(angle, np.linspace(0, 2 * np.pi, 40) - np.pi / 2, atol=0.3)


def test_the_upright_heart_has_a_notch_and_two_equal_halves(stamps):
    white = stamps[HEART, 5, 0]
    columns = np.flatnonzero(white.any(axis=0))
    top = white.argmax(axis=0)[columns]
    middle = len(columns) // 2
    assert top[:middle].min() < top[middle] > top[middle + 1 :].min()
    assert (white[:, columns] & white[:, columns[::-1]]).sum() > 0.95 * white.sum()


# --- the dataset ------------------------------------------------------------------------------


def test_splits_do_not_overlap():
    splits = sprites.choose(SAMPLE_EXAMPLES)
    assert {name: len(indices) for name, indices in splits.items()} == SAMPLE_EXAMPLES
    together = np.concatenate([*splits.values()])
    assert len(np.unique(together)) == 70_000
    assert together.min() >= 0 and together.max() < 737_280
    assert splits["train"][:5].tolist() == [125674, 436028, 227828, 625170, 224410]


def test_splits_have_all_values_of_all_factors_alike():
    for indices in sprites.choose(SAMPLE_EXAMPLES).values():
        for values, size in zip(sprites.factors_of(indices).T, sprites.SIZES, strict=True):
            counts = np.bincount(values, minlength=size)
            expected = len(indices) / size
            assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_another_seed_chooses_others():
    one, other = (sprites.choose({"train": 100}, seed=seed)["train"] for seed in (0, 1))
    assert len(np.intersect1d(one, other)) < 5


def test_more_images_than_there_are_cannot_be_chosen():
    assert len(sprites.choose({"train": 737_280})["train"]) == 737_280
    with pytest.raises(ValueError, match="more than 737,280"):
        sprites.choose({"train": 737_280, "test": 1})


def test_the_sample_is_declared_and_not_painted_before_it_is_read():
    source = dsprites().find("sample")
    assert source.kind == "sample" and not source.official
    assert source.description == "70,000 sprites drawn by kpipe after dSprites"
    assert source.examples == {"train": 50_000, "val": 5_000, "test": 15_000}
    assert source.identity != dsprites(sample_examples=SMALL).find("sample").identity
    first = next(iter(source.read("test")))
    index = sprites.choose(SAMPLE_EXAMPLES)["test"][0]
    assert first["name"].numpy().decode() == f"drawn sprite {index}"


def test_a_prepared_sample_has_the_images_of_its_labels():
    dataset = dsprites(sample_examples=SMALL)
    prepared = data.prepare(dataset, dataset.find("auto"))
    assert prepared.kind == "sample" and prepared.examples == SMALL
    assert prepared.label_names == ("shape", "scale", "orientation", "x", "y")
    for name, indices in sprites.choose(SMALL).items():
        images, labels = prepared.splits[name].take(np.arange(SMALL[name]))
        np.testing.assert_array_equal(sprites.index_of(labels), indices)
        np.testing.assert_array_equal(images, sprites.paint(labels))


# --- what TFDS prepared -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def tfds_dir(tmp_path_factory):
    """Ten of our sprites, prepared by TFDS' own builder from a file like dSprites'."""
    folder = tmp_path_factory.mktemp("tfds")
    factors = sprites.factors_of(np.arange(10) * 70_001)
    with h5py.File(folder / "dsprites.hdf5", "w") as file:
        file["imgs"] = sprites.paint(factors)[..., 0] // 255
        file["latents/classes"] = np.pad(factors, ((0, 0), (1, 0)))  # the first is the colour
        file["latents/values"] = np.zeros((10, 6))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            tfds.download.DownloadManager, "download", lambda *_: folder / "dsprites.hdf5"
        )
        tfds.disable_progress_bar()
        tfds.builder("dsprites", data_dir=folder).download_and_prepare()
    return folder


def test_tfds_stores_what_we_declare(tfds_dir):
    builder = tfds.builder("dsprites", data_dir=tfds_dir)
    dataset = dsprites()
    assert str(builder.version) == dataset.version
    assert builder.info.features["image"].shape == dataset.input_shape
    assert {info.size for info in builder.url_infos.values()} == {dataset.official_download_size}
    assert (
        max(image["image"].max() for image in builder.as_dataset("train").as_numpy_iterator()) == 1
    )


def test_prepared_images_become_white_and_keep_their_factors(tfds_dir):
    dataset = dataclasses.replace(dsprites(), tfds_splits={"train": "train"})
    source = dataset.find("auto", tfds_dir)
    assert source.kind == "real" and source.examples == {"train": 10} and not source.official
    images, labels = zip(
        *((one["input"], one["label"]) for one in source.read("train").as_numpy_iterator()),
        strict=True,
    )
    assert sorted(sprites.index_of(np.array(labels))) == [i * 70_001 for i in range(10)]
    np.testing.assert_array_equal(np.array(images), sprites.paint(np.array(labels)))


def test_the_declared_splits_are_the_whole_of_what_tfds_has(tmp_path):
    folder = tmp_path / "dsprites" / "2.0.0"
    folder.mkdir(parents=True)
    info = {
        "downloadSize": "28024106",
        "splits": [{"name": "train", "shardLengths": ["368640", "368640"]}],
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))
    source = dsprites().find("real", tmp_path)
    assert source.official
    assert source.examples == {"train": 589_824, "val": 73_728, "test": 73_728}


def test_parts_of_a_split_are_read(tfds_dir):
    dataset = dataclasses.replace(
        dsprites(),
        tfds_splits={"train": "train[:5]", "val": "train[5:7]", "test": "train[7:]"},
    )
    source = dataset.find("real", tfds_dir)
    assert source.examples == {"train": 5, "val": 2, "test": 3}
    prepared = data.prepare(dataset, source)
    assert prepared.examples == source.examples
    indices = []
    for split in prepared.splits.values():
        images, labels = split.take(np.arange(len(split)))
        np.testing.assert_array_equal(images, sprites.paint(labels))
        indices += sprites.index_of(labels).tolist()
    assert sorted(indices) == [i * 70_001 for i in range(10)]


def test_fewer_images_than_declared_are_told(tfds_dir):
    dataset = dsprites()
    with pytest.raises(UserError, match="the val split is empty; expected at least 1 example"):
        data.prepare(dataset, dataset.find("real", tfds_dir))


def test_more_sprites_than_there_are_combinations_are_refused():
    with pytest.raises(ValueError, match="expected at most 737,280, all combinations"):
        dsprites(sample_examples={"train": 700_000, "val": 30_000, "test": 10_000})
