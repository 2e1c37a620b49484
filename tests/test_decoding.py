"""Image files of all kinds become the pixels that a viewer shows, in preparation and export."""

import io
import resource

import numpy as np
import pytest
import tensorflow as tf
from bad_files import bombs
from PIL import Image, ImageOps

from kpipe.datasets.own.image_files import readable, why_unreadable
from kpipe.errors import UserError
from kpipe.inputs.images import ImageInput, decode_image, read_images, unreadable

# Four colours in a field of 16 x 32 pixels, so that every turn looks different.
RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 200, 40), (40, 60, 210), (230, 220, 40)


def quarters(height=16, width=32):
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2], pixels[: height // 2, width // 2 :] = RED, GREEN
    pixels[height // 2 :, : width // 2], pixels[height // 2 :, width // 2 :] = BLUE, YELLOW
    return pixels


PIXELS = quarters()
PICTURE = Image.fromarray(PIXELS)
GREY = PICTURE.convert("L")
FADING = np.linspace(0, 255, 32).astype(np.uint8)[None].repeat(16, axis=0)


def encode(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[0x010E] = "a description, stored behind the directory"
    tags[0x0112] = orientation
    return tags


def transparent(image):
    image = image.copy()
    image.putalpha(Image.fromarray(FADING))
    return image


def on_white(pixels):
    alpha = FADING[..., None] / 255
    return np.round(pixels * alpha + 255 * (1 - alpha))


def decode(content, shape=(16, 32, 3)):
    return decode_image(tf.constant(readable(content)), shape).numpy()


# What a viewer shows when the stored picture is PIXELS: EXIF's table, by hand.
TURNED = {
    1: PIXELS,
    2: PIXELS[:, ::-1],
    3: PIXELS[::-1, ::-1],
    4: PIXELS[::-1],
    5: PIXELS.transpose(1, 0, 2),
    6: PIXELS.transpose(1, 0, 2)[:, ::-1],
    7: PIXELS.transpose(1, 0, 2)[::-1, ::-1],
    8: PIXELS.transpose(1, 0, 2)[::-1],
}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_picture_is_turned_as_exif_says(kind, orientation):
    expected = TURNED[orientation]
    lossless = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
    content = encode(PICTURE, kind, exif=exif(orientation), **lossless.get(kind, {}))
    if kind == "JPEG":
        assert readable(content) == content  # the export itself turns it
    decoded = decode(content, expected.shape)
    assert np.abs(decoded.astype(int) - expected).max() <= 4


def test_exif_in_either_byte_order_and_damaged_exif_are_read():
    def jpeg(tiff):
        plain = encode(PICTURE, "JPEG", quality=100, subsampling=0)
        segment = b"Exif\0\0" + tiff
        return plain[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2) + segment + plain[2:]

    motorola = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x03\0\0\0\0\0\0"
    intel = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x03\0\0\0\0\0\0\0"
    upside_down = decode(jpeg(intel)).astype(int)
    assert np.abs(upside_down - TURNED[3]).max() <= 4
    assert np.array_equal(decode(jpeg(motorola)), upside_down)
    for damaged in (
        b"",
        b"MM",
        intel[:14],
        b"II*\0\xff\xff\xff\xff",
        intel.replace(b"\3\0\0\0\0", b"\x63"),
    ):
        assert np.abs(decode(jpeg(damaged)).astype(int) - PIXELS).max() <= 4


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_model_of_grey_images_turns_a_jpeg_whose_exif_is_behind_a_profile(mode):
    plain = encode(PICTURE.convert(mode), "JPEG", quality=100)
    tags = exif(3).tobytes()
    behind = b"".join(
        bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2) + content
        for marker, content in ((0xE2, b"a profile" * 1000), (0xE1, tags))
    )
    upright = decode(plain, (16, 32, 1))
    assert np.array_equal(decode(plain[:2] + behind + plain[2:], (16, 32, 1)), upright[::-1, ::-1])


PALETTE = PICTURE.convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
KINDS = {
    "grey PNG": (encode(GREY, "PNG"), np.array(GREY.convert("RGB"))),
    "palette PNG": (encode(PALETTE, "PNG"), PIXELS),
    "alpha PNG": (encode(transparent(PICTURE), "PNG"), on_white(PIXELS)),
    "grey and alpha PNG": (
        encode(transparent(GREY), "PNG"),
        on_white(np.array(GREY.convert("RGB"))),
    ),
    "palette with transparency": (
        encode(PALETTE, "PNG", transparency=PALETTE.getpixel((0, 0))),
        np.where((PIXELS == RED).all(axis=-1, keepdims=True), 255, PIXELS),
    ),
    "one transparent colour": (
        encode(PICTURE, "PNG", transparency=RED),
        np.where((PIXELS == RED).all(axis=-1, keepdims=True), 255, PIXELS),
    ),
    "PNG of 16 bits": (
        encode(Image.fromarray(np.array(GREY).astype(np.uint16) * 256 + 99), "PNG"),
        np.array(GREY.convert("RGB")),
    ),
    "PNG of 1 bit": (encode(GREY.point(lambda v: 255 * (v > 99)).convert("1"), "PNG"), None),
    "BMP": (encode(PICTURE, "BMP"), PIXELS),
    "grey BMP": (encode(GREY, "BMP"), np.array(GREY.convert("RGB"))),
    "palette BMP": (encode(PALETTE, "BMP"), PIXELS),
    "BMP of 1 bit": (encode(GREY.point(lambda v: 255 * (v > 99)).convert("1"), "BMP"), None),
    "GIF": (encode(PALETTE, "GIF"), PIXELS),
    "animated GIF": (
        encode(PALETTE, "GIF", save_all=True, append_images=[PALETTE.rotate(180)]),
        PIXELS,
    ),
    "transparent GIF": (
        encode(PALETTE, "GIF", transparency=PALETTE.getpixel((0, 0))),
        np.where((PIXELS == RED).all(axis=-1, keepdims=True), 255, PIXELS),
    ),
    "WebP": (encode(PICTURE, "WEBP", quality=100), PIXELS),
    "lossless WebP": (encode(PICTURE, "WEBP", lossless=True), PIXELS),
    "alpha WebP": (
        encode(transparent(PICTURE), "WEBP", lossless=True, exact=True),
        on_white(PIXELS),
    ),
    "animated WebP": (
        encode(PICTURE, "WEBP", lossless=True, save_all=True, append_images=[PICTURE.rotate(180)]),
        PIXELS,
    ),
    "TIFF": (encode(PICTURE, "TIFF"), PIXELS),
    "progressive JPEG": (encode(PICTURE, "JPEG", progressive=True, quality=100), PIXELS),
    "CMYK JPEG": (encode(PICTURE.convert("CMYK"), "JPEG", quality=100), PIXELS),
}
INK = encode(PICTURE.convert("CMYK"), "JPEG", quality=100)
YCCK = INK.replace(b"Adobe\0\x64\0\0\0\0\0", b"Adobe\0\x64\0\0\0\0\2")  # inks as YCbCr and K
KINDS |= {
    "TIFF with LZW": (encode(PICTURE, "TIFF", compression="tiff_lzw"), PIXELS),
    "CMYK TIFF": (encode(PICTURE.convert("CMYK"), "TIFF"), PIXELS),
    "TIFF of 16 bits": (
        encode(Image.fromarray(np.array(GREY).astype(np.uint16) * 256 + 99), "TIFF"),
        np.array(GREY.convert("RGB")),
    ),
    "BMP of 32 bits": (encode(PICTURE.convert("RGBA"), "BMP"), PIXELS),
    "YCCK JPEG": (YCCK, np.array(Image.open(io.BytesIO(YCCK)).convert("RGB"))),
    "turned PNG": (encode(PICTURE, "PNG", exif=exif(3)), TURNED[3]),
    "turned WebP": (encode(PICTURE, "WEBP", lossless=True, exif=exif(3)), TURNED[3]),
}
LOSSY = ("WebP", "progressive JPEG", "CMYK JPEG", "YCCK JPEG")
# What the endpoint refuses, since its operations would decode it wrongly; `predict` converts it.
CONVERTED = {
    *("one transparent colour", "grey BMP", "palette BMP", "BMP of 1 bit", "animated GIF"),
    *("transparent GIF", "alpha WebP", "animated WebP", "turned PNG", "turned WebP"),
    *("TIFF", "TIFF with LZW", "CMYK TIFF", "TIFF of 16 bits"),
}
BLACK_AND_WHITE = np.where(np.array(GREY)[..., None] > 99, 255, 0).repeat(3, axis=-1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_of_any_kind_has_the_colours_that_a_viewer_shows(kind):
    content, expected = KINDS[kind]
    expected = BLACK_AND_WHITE if expected is None else expected
    # Lossy kinds blur the edges between the colours.
    inner = (slice(2, 6), slice(3, 9)) if kind in LOSSY else (slice(None), slice(None))
    difference = np.abs(decode(content).astype(int) - expected)[inner]
    assert difference.max() <= (12 if kind in LOSSY else 1)
    grey = decode(content, (16, 32, 1)).astype(int)
    assert np.abs(grey - expected @ [[0.299], [0.587], [0.114]])[inner].max() <= 12


def test_a_gif_whose_first_frame_is_smaller_than_its_canvas_is_shown_in_its_place():
    content = bytearray(encode(PALETTE, "GIF"))
    content[6:8] = (40).to_bytes(2, "little")  # the canvas is 40 pixels wide, the frame 32
    decoded = decode(bytes(content), (16, 40, 3))
    assert np.array_equal(decoded[:, :32], PIXELS)
    with Image.open(io.BytesIO(content)) as image:
        assert np.array_equal(decoded, np.array(image.convert("RGB")))


NOISY = Image.fromarray(np.random.default_rng(0).integers(0, 256, (37, 45, 3)).astype(np.uint8))
LOSSY_FILES = {
    "4:2:0": encode(NOISY, "JPEG"),
    "4:2:2": encode(NOISY, "JPEG", subsampling=1),
    "4:4:4": encode(NOISY, "JPEG", subsampling=0, quality=95),
    "progressive": encode(NOISY, "JPEG", progressive=True, quality=40),
    "grey": encode(NOISY.convert("L"), "JPEG"),
    "CMYK": encode(NOISY.convert("CMYK"), "JPEG"),
    "turned": encode(NOISY, "JPEG", exif=exif(6)),
    "1 x 1": encode(NOISY.resize((1, 1)), "JPEG"),
    "WebP": encode(NOISY, "WEBP"),
}


@pytest.mark.parametrize("kind", LOSSY_FILES)
def test_a_lossy_file_has_the_pixels_of_pillow_to_1_grey_level(kind):
    content = LOSSY_FILES[kind]
    assert readable(content) == content
    with Image.open(io.BytesIO(content)) as image:
        image = ImageOps.exif_transpose(image).convert("RGB")
    for expected in (np.array(image), np.array(image.convert("L"))[..., None]):
        assert np.abs(decode(content, expected.shape).astype(int) - expected).max() <= 1


def test_a_png_is_neither_changed_nor_decoded_in_another_way():
    for content in (encode(PICTURE, "PNG"), encode(GREY, "PNG")):
        assert readable(content) == content
        for channels in (1, 3):
            expected = tf.io.decode_image(content, channels=channels)
            assert np.array_equal(decode(content, (16, 32, channels)), expected)


def test_an_export_decodes_files_of_all_kinds_in_one_batch():
    contents = [readable(content) for content, _ in KINDS.values()]
    input_ = ImageInput((8, 8, 1))
    spec = tf.TensorSpec((None, 8, 8, 1), tf.uint8)
    endpoints, _ = input_.endpoints(lambda images: {"images": images}, spec)
    serve, bytes_spec = endpoints["serving_bytes"]
    served = tf.function(serve, input_signature=[bytes_spec])(tf.constant(contents))["images"]
    one_by_one = [decode_image(tf.constant(content), (8, 8, 1)) for content in contents]
    assert np.array_equal(served, np.stack(one_by_one))


def test_the_endpoint_shows_a_file_as_predict_does_or_says_how_to_convert_it():
    endpoints, _ = ImageInput((16, 32, 3)).endpoints(
        lambda images: {"images": images}, tf.TensorSpec((None, 16, 32, 3), tf.uint8)
    )
    serve, spec = endpoints["serving_bytes"]
    served = tf.function(serve, input_signature=[spec])
    for kind, (content, _) in KINDS.items():
        expected = decode(content)
        if kind in CONVERTED:
            with pytest.raises(tf.errors.InvalidArgumentError, match="convert it to JPEG"):
                served(tf.constant([content]))
        else:
            assert np.array_equal(served(tf.constant([content]))["images"][0], expected), kind


JPEG, PNG = encode(PICTURE, "JPEG"), encode(PICTURE, "PNG")
DAMAGED = {
    "cut.jpg": (JPEG[:-60], "image file is truncated"),
    "cut.png": (PNG[: len(PNG) // 2], "image file is truncated"),
    "cut.gif": (encode(PALETTE, "GIF")[:-20], "image file is truncated"),
    "cut.bmp": (encode(PICTURE, "BMP")[:-200], "image file is truncated"),
    "empty.png": (b"", "empty file"),
    "words.jpg": (b"no image, but words", "not an image of a known format"),
    "32.tif": (encode(Image.fromarray(np.ones((4, 4), "float32")), "TIFF"), "pixels of 32 bits"),
}


def test_all_damaged_files_are_named_in_one_line_with_their_reasons(tmp_path):
    files = {**{name: content for name, (content, _) in DAMAGED.items()}, "good.png": PNG}
    paths = [tmp_path / name for name in files]
    for path in paths:
        path.write_bytes(files[path.name])
    error = unreadable(paths, read_images(paths), (16, 32, 3))
    assert isinstance(error, UserError)
    message = str(error)
    assert "\n" not in message and "good.png" not in message
    for path, (_, reason) in zip(paths, DAMAGED.values(), strict=False):
        assert f"{path}: {reason}" in message


def test_files_that_only_an_older_export_refuses_are_named_too():
    message = str(unreadable(["a.png", "b.png"], [PNG, PNG], (16, 32, 3)))
    assert message.startswith("a.png, b.png: cannot be read as an image; ")
    assert "the run's export cannot read all of these files" in message


def test_a_sound_file_has_no_reason_to_be_unreadable():
    assert not any(why_unreadable(content) for content, _ in KINDS.values())


def test_a_bomb_is_refused_by_its_header_in_little_memory(tmp_path):
    for name, content in bombs().items():
        (tmp_path / name).write_bytes(content)
    paths = sorted(tmp_path.iterdir())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    message = str(unreadable(paths, read_images(paths), (16, 32, 3)))
    endpoints, _ = ImageInput((16, 32, 3)).endpoints(
        lambda images: {"images": images}, tf.TensorSpec((None, 16, 32, 3), tf.uint8)
    )
    serve, spec = endpoints["serving_bytes"]
    served = tf.function(serve, input_signature=[spec])  # in a graph, where all may run at once
    for path in paths:
        with pytest.raises(tf.errors.OpError, match=r"89 megapixels|convert it"):
            served(tf.constant([path.read_bytes()]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert message.count("more than 89 megapixels; make it smaller") == len(paths)
    assert peak - before < 2**17  # KiB: 128 MiB; the first of them would take 2.5 GiB
