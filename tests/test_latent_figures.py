"""Figures of autoencoders, on runs whose encoder and decoder are a few lines of NumPy."""

import io
import json
from types import SimpleNamespace

import matplotlib.figure
import matplotlib.text
import numpy as np
import pytest
from PIL import Image
from scipy.stats import norm

import kpipe.inputs.images
from kpipe import files
from kpipe.figures import autoencoders, latent_traversals, latents
from kpipe.figures.autoencoders import denoising, reconstructions, spread
from kpipe.records import Record, Run

PLOTS = (
    reconstructions,
    denoising,
    latents.code_scatter,
    latents.latent_grid,
    latent_traversals.traversals,
    latents.latent_kl,
    latents.discrete_code_by_class,
    latent_traversals.compare_traversals,
    latent_traversals.traversal_animation,
)
QUANTILES = norm.ppf(np.linspace(0.05, 0.95, 10))


def draw_blobs(codes, height, width, channels) -> np.ndarray:
    """A blob an image: the first four columns of a code are its place and size, the rest a tint."""
    codes = np.pad(codes, ((0, 0), (0, max(0, 5 - codes.shape[1]))))
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    across, up, wide, high = (0.4 * np.tanh(codes[:, i, None, None]) for i in range(4))
    far = ((x - across) / (0.4 + 0.6 * wide)) ** 2 + ((y + up) / (0.4 + 0.6 * high)) ** 2
    tint = 1 - 0.6 * np.tanh(codes[:, 4:] * np.linspace(0, 1, codes.shape[1] - 4)).mean(axis=1)
    images = np.exp(-3 * far)[..., None] * np.clip(tint, 0.2, 1)[:, None, None, None]
    return (1.1 * images * np.linspace(1, 0.5, channels)).astype("float32")


def make_run(
    continuous=10, discrete=(), prior=True, shape=(28, 28, 1), classes=10, n=300, factors=0, **kept
) -> Run:
    """A run of an autoencoder; `run.decoded` gathers the codes that its decoder is given."""
    random = np.random.default_rng(0)
    label = random.integers(0, classes, (n, factors) if factors else n)
    first = label[:, 0] if factors else label
    code = random.normal(size=(n, continuous)) + np.eye(classes, continuous)[first] * 2
    kl = np.abs(random.normal(1, 0.1, (n, continuous + len(discrete))))
    kl *= np.exp(-0.5 * random.permutation(kl.shape[1]))
    for size in discrete:
        code = np.hstack([code, np.eye(size)[(first + (random.random(n) < 0.1)) % size]])
    code = code.astype("float32")
    decoded = []

    def decode(codes, verbose):
        assert codes.dtype == np.float32 and codes.shape[1] == code.shape[1]
        decoded.append(codes)
        return {"reconstruction": draw_blobs(codes, *shape)}

    def encode(images, verbose):
        assert images.dtype == np.uint8
        return {"code": code[: len(images)]}

    inputs = (255 * np.clip(draw_blobs(code, *shape), 0, 1)).astype("uint8")
    layers = {
        "encoder": SimpleNamespace(predict=encode),
        "decoder": SimpleNamespace(predict=decode),
    }
    names = ("psnr", "ssim", "squared_error", "svd_psnr")
    structure = {"continuous": continuous, "discrete": list(discrete), "has_prior": prior}
    labels = [f"factor {i}" for i in range(factors)] or [*map(str, range(classes))]
    content = {"pipeline": "mine", "latents": structure, "data": {"label_names": labels}}
    run = Run(
        name="mine",
        record=Record.from_json(content),
        metrics={k: {"value": v} for k, v in zip(names, (24.318, 0.913, 0.01, 20.1), strict=True)},
        data=SimpleNamespace(input_shape=shape),
        history={},
        _predictions={"index": np.arange(n), "label": label, "code": code},
        _model=SimpleNamespace(get_layer=layers.get),
        **({"folder": None} | kept),
    )
    run.test_inputs = lambda positions: inputs[positions]
    run.decoded = decoded
    if prior:
        run.predictions["kl"] = kl.astype("float32")
        run.history = make_history(kl.mean(axis=0), continuous)
    return run


def make_history(kl, continuous, epochs=30) -> dict[str, list]:
    """Every KL grows to its value of the last epoch, as the capacity does."""
    growth = np.linspace(0, 1, epochs) ** 2
    history = {"epoch": [*range(1, epochs + 1)], "step": [1000 * i for i in range(1, epochs + 1)]}
    for kind, part in (("continuous", kl[:continuous]), ("discrete", kl[continuous:])):
        if len(part):
            history[f"{kind}_kl"] = list(growth * part.sum())
            history[f"{kind}_capacity"] = list(growth * part.sum() * 1.2)
            history |= {f"{kind}_kl/{i}": list(growth * x) for i, x in enumerate(part)}
    return history | {f"val_{name}": values for name, values in history.items() if "kl" in name}


def add_noise_levels(run, gains) -> None:
    for level, gain in gains.items():
        for metric, value in (("psnr", 20 - 20 * float(level)), ("ssim", 0.5)):
            run.metrics[f"{metric}_noisy/{level}"] = {"value": value}
            run.metrics[f"{metric}_denoised/{level}"] = {"value": value + gain}


def stand_in_noise(images, level, seed):
    noise = np.random.default_rng(seed).normal(0, 255 * level, images.shape)
    return np.clip(images + noise, 0, 255).astype("uint8")


@pytest.fixture(autouse=True)
def noise(monkeypatch):
    monkeypatch.setattr(kpipe.inputs.images, "add_noise", stand_in_noise, raising=False)


def write_beside(run, name, model, **changes):
    """A finished run beside `run`, with other latents."""
    folder = run.folder.parent / name
    (folder / "figures").mkdir(parents=True)
    keys = {"capacity": "rising", "discrete": model}
    record = {**run.record.to_json(), "hyperparameters": keys, "overrides": {"discrete": model}}
    (folder / "run.json").write_text(json.dumps(record | changes))
    metrics = {"continuous_kl": {"value": 6.25}, "continuous_capacity": {"value": 8}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "history.csv").write_text("epoch\n1\n")
    figure = matplotlib.figure.Figure((5, 3))
    figure.savefig(folder / "figures" / "traversals.png")
    files.write_manifest(folder, folder.rglob("*"))
    return folder


def make_run_in(folder, **options):
    run = make_run(folder=folder / "run", **options)
    values = {"continuous_kl": 4.25, "continuous_capacity": 5, "discrete_kl": 2.2}
    run.metrics |= {name: {"value": value} for name, value in values.items()}
    run.record.status, run.record.pipeline = "finished", "autoencoder"
    run.record.data.fingerprint = "ab12"
    run.record.hyperparameters = {"capacity": "rising", "discrete": "10"}
    return run


def texts(figure: matplotlib.figure.Figure) -> str:
    """The title on one line and all other text, after a layout that must not warn."""
    figure.draw_without_rendering()
    found = [text.get_text() for text in figure.findobj(matplotlib.text.Text)]
    return "\n".join([" ".join(figure.get_suptitle().split()), *found])


def row_names(figure) -> list[str]:
    names = [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()]
    return [name for name in names if name]


def pixels(figure, axes=0) -> np.ndarray:
    return np.asarray(figure.axes[axes].images[0].get_array())


@pytest.mark.parametrize("shape", [(28, 28, 1), (16, 24, 3)])
def test_reconstructions_stand_below_their_originals(shape):
    run = make_run(shape=shape)
    run.predictions["svd_shown"] = np.full((10, *shape), 7, "float32")  # is clipped
    figure = reconstructions(run)
    found = texts(figure)
    assert "24.32 dB PSNR and 0.913 SSIM; the truncated SVD 20.10 dB" in found
    assert row_names(figure) == [
        "original",
        "reconstruction\n24.32 dB, 0.913",
        "truncated SVD\n20.10 dB",
    ]
    (codes,) = run.decoded
    positions = [int(np.flatnonzero((run.predictions["code"] == c).all(1))[0]) for c in codes]
    assert sorted(positions) == list(range(10))  # of the others there is no SVD
    assert (np.diff(run.predictions["label"][positions]) >= 0).all()
    height, width = shape[:2]
    canvas, inputs = pixels(figure), run.test_inputs(positions) / 255
    for column, image in enumerate(inputs.reshape(10, height, width, -1)):
        left = column * (width + 1)
        shown = np.atleast_3d(canvas)[:, left : left + width]
        np.testing.assert_allclose(shown[:height], image)
        np.testing.assert_allclose(shown[height + 1 :][:height], image, atol=0.01)
        assert (shown[2 * height + 2 :] == 1).all()


def test_images_are_spread_over_the_classes():
    run = make_run(classes=3)
    label = run.predictions["label"]
    assert list(label[spread(run, 7, 300)]) == [0, 0, 0, 1, 1, 2, 2]
    many = make_run(classes=81, n=1000)
    chosen = many.predictions["label"][spread(many, 10, 1000)]
    assert chosen[0] == 0 and chosen[-1] == 80 and len(set(chosen)) == 10
    assert len(spread(make_run(n=4), 10, 4)) == 4
    assert list(spread(make_run(factors=3), 3, 300)) == [0, 149, 299]


def test_figures_of_images_need_them_at_hand():
    run = make_run(prior=False)
    add_noise_levels(run, {"0.2": 1})
    run.data = None  # as of a run that was opened again
    assert reconstructions(run) is None
    assert denoising(run) is None


def test_figures_of_codes_need_codes():
    run = make_run()
    del run.record.details["latents"]
    add_noise_levels(run, {"0.2": 1})
    for plot in PLOTS:
        assert plot(run) is None


def test_every_figure_has_a_caption():
    for plot in PLOTS:
        caption = plot.__doc__.splitlines()[0]
        assert caption.endswith(".") and len(caption) <= 95


@pytest.mark.parametrize(
    ("gains", "title", "crossing"),
    [
        ({"0.1": -1, "0.2": 3, "0.4": 5}, "PSNR from a noise level of about 0.12 on", 0.125),
        ({"0.1": 1, "0.2": 3}, "at every noise level, from 0.1 on", None),
        ({"0.1": -1, "0.2": 0}, "at no noise level up to 0.2", None),
        ({"0.1": -1, "0.2": 2, "0.4": -2}, "only at a noise level of 0.2", None),
        ({"0.4": 4, "5e-2": -1, "0.1": -4}, "PSNR from a noise level of about 0.25 on", 0.25),
    ],
)
def test_denoising_says_from_which_level_on_it_helps(gains, title, crossing):
    run = make_run()
    add_noise_levels(run, gains)
    figure = denoising(run)
    assert title in texts(figure)
    levels = sorted(gains, key=float)
    names = row_names(figure)
    for i, level in enumerate(levels):
        before = 20 - 20 * float(level)
        assert names[2 * i] == f"noise {level}\n{before:.2f} dB, 0.500"
        after = f"{before + gains[level]:.2f} dB, {0.5 + gains[level]:.3f}"
        assert names[2 * i + 1] == f"denoised\n{after}"
    lines = figure.axes[-1].lines
    np.testing.assert_allclose(
        lines[1].get_ydata() - lines[0].get_ydata(), [gains[x] for x in levels]
    )
    assert [line.get_xdata()[0] for line in lines[2:]] == ([crossing] if crossing else [])


def test_denoising_encodes_the_noisy_images():
    run = make_run()
    assert denoising(run) is None
    add_noise_levels(run, {"0.3": 1})
    given = []
    encoder = run.model.get_layer("encoder")
    encode = encoder.predict
    encoder.predict = lambda images, verbose: given.append(images) or encode(images, verbose)
    figure = denoising(run)
    inputs = run.test_inputs(spread(run, 10, 300))
    np.testing.assert_array_equal(given[0], stand_in_noise(inputs, 0.3, (0, 0)))
    np.testing.assert_allclose(pixels(figure)[:28, :28], given[0][0, ..., 0] / 255)


def test_two_latents_are_shown_themselves():
    run = make_run(continuous=2, n=6000, prior=False)
    figure = latents.code_scatter(run)
    assert "5,000 of 6,000 test codes by class, in the plane of both latents" in texts(figure)
    axes, codes = figure.axes[0], run.predictions["code"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("z1", "z2")
    points = np.asarray(axes.collections[0].get_offsets())
    assert len(points) == 5000
    colors = axes.collections[0].get_facecolors()[:, :3]
    legend = axes.get_legend()
    names = [text.get_text() for text in legend.get_texts()]
    handles = dict(zip(names, legend.legend_handles, strict=True))
    assert list(handles) == list(map(str, range(10)))
    assert len({tuple(handle.get_color()) for handle in handles.values()}) == 10
    for point, color in zip(points[:50], colors, strict=False):
        (at,) = np.flatnonzero((codes == point.astype("float32")).all(axis=1))
        name = str(run.predictions["label"][at])
        np.testing.assert_allclose(color, matplotlib.colors.to_rgb(handles[name].get_color()))


def test_more_latents_are_projected_and_the_kept_variance_is_said():
    run = make_run(continuous=5, discrete=[10])
    run.predictions["code"][:, :5] *= np.array([3, 2, 0.1, 0.1, 0.1], "float32")
    continuous = run.predictions["code"][:, :5].astype(float)
    values = np.linalg.eigvalsh(np.cov(continuous.T))
    share = 100 * values[-2:].sum() / values.sum()
    figure = latents.code_scatter(run)
    assert f"keeps {share:.0f} % of the variance of 5 latents" in texts(figure)
    assert figure.axes[0].get_xlabel() == "first principal component"
    assert latents.code_scatter(make_run(continuous=0, discrete=[2])) is None


def test_no_more_than_all_variance_of_few_codes_is_kept():
    run = make_run(continuous=3, n=20)
    run.predictions["code"][:, 2] = 0
    assert "keeps 100 % of the variance" in texts(latents.code_scatter(run))


@pytest.mark.parametrize("names", [(), ("weight",)])
def test_codes_without_classes_have_no_figures_of_classes(names):
    run = make_run(continuous=2, discrete=[3], n=20)
    run.record.data.label_names = names
    if names:
        run.predictions["label"] = np.linspace(0, 1, 20, dtype="float32")
    assert latents.code_scatter(run) is None
    assert latents.discrete_code_by_class(run) is None


def test_of_several_factors_the_first_colours_the_codes():
    run = make_run(classes=3, factors=4)
    figure = latents.code_scatter(run)
    colors = figure.axes[0].collections[0].get_facecolors()
    found = np.unique(colors, axis=0, return_counts=True)[1]
    assert sorted(found) == sorted(np.bincount(run.predictions["label"][:, 0]))
    assert "by factor 0, in the plane" in texts(figure)
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert names == ["0", "1", "2"]


def test_names_of_many_classes_do_not_overlap():
    figure = latents.code_scatter(make_run(classes=81, n=2000))
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) > 5 and figure.axes[0].get_legend() is None
    for i, box in enumerate(boxes):
        assert not box.count_overlaps(boxes[:i])


@pytest.mark.parametrize(("discrete", "shape"), [((), (28, 28, 1)), ((3, 2), (16, 16, 3))])
def test_the_plane_is_decoded_at_the_quantiles_of_the_prior(discrete, shape):
    run = make_run(continuous=2, discrete=discrete, shape=shape)
    figure = latents.latent_grid(run)
    (codes,) = run.decoded
    quantiles = norm.ppf(np.linspace(0.05, 0.95, 15))
    grid = codes.reshape(15, 15, -1)
    np.testing.assert_allclose(grid[..., 0], np.tile(quantiles, (15, 1)), atol=1e-6)
    np.testing.assert_allclose(grid[..., 1], np.tile(quantiles[::-1, None], 15), atol=1e-6)
    assert (grid[..., 2:] == ([1, 0, 0, 1, 0] if discrete else [])).all()
    axes = figure.axes[0]
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [x.get_text() for x in ticks] == ["-1.64", "-0.50", "0.00", "0.50", "1.64"]
    assert axes.get_yticks()[0] > axes.get_yticks()[-1]  # pixels count from the top
    side = shape[0]
    image = draw_blobs(codes[:1], *shape)[0]
    np.testing.assert_allclose(np.atleast_3d(pixels(figure))[:side, :side], np.clip(image, 0, 1))
    assert ("at value 0 of c1 (3), c2 (2)" in texts(figure)) == bool(discrete)


def test_only_two_latents_with_a_prior_span_a_plane():
    assert latents.latent_grid(make_run(continuous=2, prior=False)) is None
    assert latents.latent_grid(make_run(continuous=3)) is None
    assert latents.latent_grid(make_run(continuous=0, discrete=[10, 10])) is None


def test_traversals_are_ordered_by_kl_and_vary_one_latent_each():
    run = make_run(continuous=3, discrete=[4])
    run.predictions["kl"] = np.tile(np.array([0.05, 2.411, 0.5, 1.287], "float32"), (300, 1))
    figure = latent_traversals.traversals(run)
    assert row_names(figure) == [
        "z2  2.41 nats",
        "c1 (4)  1.29 nats",
        "z3  0.50 nats",
        "z1  0.05 nats",
    ]
    assert "z2 has the largest KL, 2.41 nats; 1 of 4 latents have less than 0.1" in texts(figure)
    (codes,) = run.decoded
    frequent = np.bincount(run.predictions["code"][:, 3:].argmax(axis=1)).argmax()
    expected = np.zeros((34, 7))
    expected[:, 3 + frequent] = 1
    expected[:10, 1], expected[14:24, 2], expected[24:, 0] = QUANTILES, QUANTILES, QUANTILES
    expected[10:14, 3:] = np.eye(4)
    np.testing.assert_allclose(codes, expected, atol=1e-6)
    canvas = pixels(figure)
    assert canvas.shape == (4 * 29 - 1, 10 * 29 - 1)
    assert (canvas[29:57, 4 * 29 :] == 1).all() and (canvas[29:57, 3 * 29 :] < 1).any()


def test_forty_values_take_four_lines():
    run = make_run(continuous=1, discrete=[40], shape=(8, 8, 3))
    figure = latent_traversals.traversals(run)
    assert sorted(name.split("  ")[0] for name in row_names(figure)) == ["c1 (40)", "z1"]
    assert pixels(figure).shape == (5 * 9 - 1, 10 * 9 - 1, 3)
    assert len(run.decoded[0]) == 50


@pytest.mark.parametrize("continuous", [0, 10])
def test_forty_binary_latents_stand_in_several_blocks(continuous):
    run = make_run(continuous, discrete=[2] * 40, shape=(8, 8, 1))
    figure = latent_traversals.traversals(run)
    names = row_names(figure)
    assert len(names) == len(set(names)) == 40 + continuous
    assert len(figure.axes) == (3 if continuous else 2)
    for kind in "zc":  # each by its KL
        values = [float(name.split()[-2]) for name in names if name.startswith(kind)]
        assert values == sorted(values, reverse=True)
    assert [name[0] for name in names] == ["z"] * continuous + ["c"] * 40
    assert figure.get_figwidth() <= 10 and figure.get_figheight() < 9


def test_of_very_many_latents_the_largest_are_shown():
    figure = latent_traversals.traversals(make_run(continuous=100, shape=(8, 8, 1)))
    assert len(row_names(figure)) == 64 and "the 64 largest are shown" in texts(figure)
    assert figure.get_figwidth() <= 10


def test_latents_without_prior_are_not_traversed():
    run = make_run(prior=False)
    for plot in (
        latent_traversals.traversals,
        latents.latent_kl,
        latent_traversals.traversal_animation,
        latent_traversals.compare_traversals,
    ):
        assert plot(run) is None


def test_the_five_largest_kl_are_named():
    run = make_run(continuous=8, discrete=[10])
    final = [0.0, 0.3, 5.0, 0.09, 1.0, 2.0, 0.02, 0.2, 1.5]
    run.history = make_history(np.array(final), 8)
    figure = latents.latent_kl(run)
    first, continuous, discrete = figure.axes
    assert first.get_legend_handles_labels()[1] == ["z3", "z6", "c1 (10)", "z5", "z2"]
    assert len(first.lines) == 9
    by_name = {line.get_label(): line.get_ydata()[-1] for line in first.lines}
    assert by_name["z6"] == 2.0 and by_name["c1 (10)"] == 1.5
    found = texts(figure)
    assert "6 of 9 latents end above 0.1 nats" in found
    assert "continuous 8.61 of 10.33 nats, discrete 1.50 of 1.80 nats" in found
    for axes, kind in ((continuous, "continuous"), (discrete, "discrete")):
        total, capacity = axes.lines
        assert list(total.get_ydata()) == run.history[f"{kind}_kl"]
        assert list(capacity.get_ydata()) == run.history[f"{kind}_capacity"]
        assert capacity.get_linestyle() == "--"
    assert discrete.get_xlabel() == "thousand steps" and discrete.lines[0].get_xdata()[-1] == 30


def test_without_capacity_and_steps_the_kl_stands_alone_over_epochs():
    run = make_run(continuous=3)
    for name in ("continuous_capacity", "step"):
        del run.history[name]
    figure = latents.latent_kl(run)
    assert len(figure.axes) == 2 and len(figure.axes[1].lines) == 1
    assert figure.axes[1].get_xlabel() == "epoch" and figure.get_suptitle().endswith(" nats")
    assert " of " not in " ".join(figure.get_suptitle().split()).split("; ")[1]


@pytest.mark.parametrize(
    ("options", "columns"),
    [
        ({"discrete": [10]}, 5),
        ({"continuous": 2, "shape": (32, 32, 3)}, 2),
        ({"continuous": 3, "discrete": [40], "shape": (24, 16, 3)}, 4),
        ({"continuous": 0, "discrete": [2] * 40, "shape": (64, 64, 3)}, 5),
    ],
)
def test_the_animation_runs_there_and_back_for_ever(options, columns, monkeypatch):
    monkeypatch.setattr(autoencoders, "CELL", 32)
    run = make_run(**options)
    content = latent_traversals.traversal_animation(run)
    assert len(content) < 500_000
    with Image.open(io.BytesIO(content)) as film:
        assert film.format == "GIF" and film.is_animated and film.info["loop"] == 0
        assert (film.info["duration"] == 80 and film.n_frames > 20) or "discrete" in options
        assert film.width == columns * 32
        frames = []
        for i in range(film.n_frames):
            film.seek(i)
            frames.append(np.asarray(film.convert("RGB")))
    if "discrete" not in options:  # equal frames after each other become one
        for there, back in zip(frames[1:], frames[:0:-1], strict=True):
            np.testing.assert_array_equal(there, back)
    steps = len(run.decoded[-1]) // (4 * columns)
    codes = run.decoded[-1].reshape(steps, 4, columns, -1)
    start = run.predictions["code"][spread(run, 4, 300)]
    kl = run.predictions["kl"].mean(axis=0)
    for column, i in enumerate(np.argsort(-kl)[:columns]):
        if i < run.record.details["latents"]["continuous"]:
            swept = norm.ppf(np.linspace(0.05, 0.95, steps))
            np.testing.assert_allclose(codes[:, 0, column, i], swept, atol=1e-6)
            rest = np.delete(np.arange(codes.shape[-1]), i)
            np.testing.assert_array_equal(codes[3, :, column][:, rest], start[:, rest])


def test_the_animation_stays_small_where_images_are_noise(monkeypatch):
    monkeypatch.setattr(autoencoders, "CELL", 16)
    monkeypatch.setattr(latent_traversals, "MAX_BYTES", 32_000)  # as many in a pixel as usual
    run = make_run(continuous=5, shape=(16, 16, 3))
    random = np.random.default_rng(0)
    predict = lambda codes, verbose: {  # noqa: E731
        "reconstruction": random.random((len(codes), 16, 16, 3), "float32")
    }
    run.model.get_layer("decoder").predict = predict
    content = latent_traversals.traversal_animation(run)
    assert len(content) < 32_000
    with Image.open(io.BytesIO(content)) as film:
        assert film.is_animated and film.width == 3 * 16


def test_values_of_the_discrete_latent_are_matched_to_the_classes():
    run = make_run(continuous=2, discrete=[4, 2], classes=3, n=8)
    run.record.data.label_names = ("a", "b", "c")
    run.predictions["label"] = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    value = np.array([2, 2, 2, 1, 0, 0, 1, 3])
    run.predictions["code"][:8, 2:6] = np.eye(4)[value]
    figure = latents.discrete_code_by_class(run)
    axes = figure.axes[0]
    assert [x.get_text() for x in axes.get_xticklabels()][:2] == ["2", "0"]
    shares = pixels(figure)
    np.testing.assert_allclose(np.diag(shares), [0.75, 1, 0.5])
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert "c1 (4) matched with one class, on these same images: 75.0 % of 8 agree" in texts(figure)
    assert sorted(text.get_text() for text in axes.texts) == ["100", "25", "50", "50", "75"]


def test_a_matrix_needs_a_discrete_latent_and_one_class():
    assert latents.discrete_code_by_class(make_run()) is None
    assert latents.discrete_code_by_class(make_run(discrete=[10], factors=2)) is None
    wide = latents.discrete_code_by_class(make_run(discrete=[40], classes=81))
    assert pixels(wide).shape == (81, 40)


def test_models_beside_each_other(tmp_path, capsys):
    run = make_run_in(tmp_path, discrete=[10])
    assert latent_traversals.compare_traversals(run) is None
    write_beside(run, "first", "none")
    keys = {"capacity": "none", "discrete": "40x2"}
    write_beside(run, "second", "", hyperparameters=keys, overrides={**keys, "beta": 4})
    write_beside(run, "vae~1", "set_aside")
    for name, changes in {
        "unfinished": {"status": "unfinished"},
        "seed": {"seed": 1},
        "pipeline": {"pipeline": "classifier"},
        "budget": {"budget": 3.0},
        "data": {"data": {"fingerprint": "cd34"}},
        "more": {"overrides": {"discrete": "none", "learning_rate": 4}},
        "plain": {"latents": {"continuous": 10, "discrete": [], "has_prior": False}},
    }.items():
        write_beside(run, name, f"model_{name}", **changes)
    figure = latent_traversals.compare_traversals(run)
    heads = [axes.get_title(loc="left") for axes in figure.axes]
    own = "continuous 4.25 of 5.00 nats\ndiscrete 2.20 nats"
    assert heads == [
        "capacity none, discrete 40x2\ncontinuous 6.25 of 8.00 nats",
        f"capacity rising, discrete 10, this run\n{own}",
        "capacity rising, discrete none\ncontinuous 6.25 of 8.00 nats",
    ]
    assert "in 3 networks, side by side" in texts(figure)
    assert pixels(figure, 0).shape[:2] == (300, 500)
    assert not capsys.readouterr().out


def test_damaged_runs_are_named_and_left_out(tmp_path, capsys):
    run = make_run_in(tmp_path)
    (write_beside(run, "a", "vae") / "figures" / "traversals.png").unlink()
    (write_beside(run, "b", "vae") / "figures" / "traversals.png").write_bytes(b"no image")
    (write_beside(run, "c", "vae") / "metrics.json").write_text("")
    (write_beside(run, "d", "vae") / "run.json").write_text("[1]")
    image = write_beside(run, "e", "vae") / "figures" / "traversals.png"
    image.write_bytes(image.read_bytes()[:-300])
    assert latent_traversals.compare_traversals(run) is None
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" is not compared")[0] for line in lines] == list("abcde")


def draw_denoising(_):
    run = make_run(shape=(32, 48, 3))
    add_noise_levels(run, {"0.05": -1, "0.1": 1, "0.2": 2, "0.4": 3})
    return denoising(run)


def draw_beside(folder):
    run = make_run_in(folder, discrete=[10])
    write_beside(run, "first", "vae")
    return latent_traversals.compare_traversals(run)


@pytest.mark.parametrize(
    "draw",
    [
        lambda _: reconstructions(make_run(shape=(48, 32, 3))),
        draw_denoising,
        lambda _: latents.code_scatter(make_run(classes=10)),
        lambda _: latents.latent_grid(make_run(continuous=2, discrete=[10])),
        lambda _: latent_traversals.traversals(make_run(discrete=[10])),
        lambda _: latent_traversals.traversals(make_run(discrete=[40], shape=(32, 32, 3))),
        lambda _: latent_traversals.traversals(make_run(continuous=0, discrete=[2] * 40)),
        lambda _: latent_traversals.traversals(make_run(continuous=10, discrete=[2] * 40)),
        lambda _: latent_traversals.traversals(make_run(continuous=1)),
        lambda _: latents.latent_kl(make_run(continuous=128, discrete=[10])),
        lambda _: latents.discrete_code_by_class(make_run(discrete=[10])),
        lambda _: latents.discrete_code_by_class(make_run(discrete=[40], classes=81)),
        draw_beside,
    ],
)
def test_nothing_is_cut_off(draw, tmp_path):
    figure = draw(tmp_path)
    figure.draw_without_rendering()
    inside = figure.get_tightbbox()  # inches
    width, height = figure.get_size_inches()
    assert inside.x0 > -0.01 and inside.y0 > -0.01
    assert inside.x1 < width + 0.01 and inside.y1 < height + 0.01
    assert width <= 10
    title = figure._suptitle.get_window_extent().transformed(figure.dpi_scale_trans.inverted())
    for axes in figure.axes:
        top = axes.get_tightbbox().transformed(figure.dpi_scale_trans.inverted()).y1
        assert top <= title.y0 + 0.01
