"""Files that are damaged, hostile or odd, as users have them: generated, by kind."""

import io
import os
import struct
import zlib

import numpy as np
from PIL import Image

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
PAGE = b"<!DOCTYPE html><html><body>Quota exceeded</body></html>"
ENDING = {"JPEG": "jpg", "PNG": "png", "GIF": "gif", "BMP": "bmp", "WEBP": "webp", "TIFF": "tif"}
REFUSED, RIGHT = "refused", "right"


def photo(seed, size=(48, 40)):
    """A picture unlike that of any other seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def encode(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(width, height, rows=b""):
    """A PNG file that says to have any size."""

    def chunk(name, content):
        ends = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + ends

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", rows or zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def changed(content, **places):
    """A file with other bytes at some places: at_18=b"..."."""
    content = bytearray(content)
    for place, new in places.items():
        start = int(place.removeprefix("at_"))
        content[start : start + len(new)] = new
    return bytes(content)


def bombs():
    """Small files whose headers say that they have over 89 megapixels."""
    jpeg = encode(photo(1), "JPEG", progressive=True)
    start = jpeg.index(b"\xff\xc2") + 5
    webp, lossless = (encode(photo(1), "WEBP", lossless=some) for some in (False, True))
    extended = encode(photo(1), "WEBP", exif=Image.Exif())
    if extended[12:16] != b"VP8X":  # 18 bytes of header, and the picture behind
        extended = webp[:12] + b"VP8X" + struct.pack("<I", 10) + bytes(10) + webp[12:]
    large = (2**14 - 1).to_bytes(2, "little")
    tiff = encode(photo(1), "TIFF")
    width = tiff.index(struct.pack("<HHII", 0x100, 4, 1, 48))
    height = tiff.index(struct.pack("<HHII", 0x101, 4, 1, 40))
    side = struct.pack("<I", 30_000)
    return {
        "bomb.png": png(30_000, 30_000, zlib.compress(bytes(90_001 * 200), 9)),
        "bomb wide.png": png(2**31 - 1, 2**31 - 1),
        "bomb just over.png": png(9460, 9460),
        "bomb.jpg": changed(jpeg, **{f"at_{start}": struct.pack(">HH", 65_000, 65_000)}),
        "bomb.gif": changed(encode(photo(1), "GIF"), at_6=struct.pack("<HH", 65_000, 65_000)),
        "bomb.bmp": changed(encode(photo(1), "BMP"), at_18=struct.pack("<ii", 30_000, 30_000)),
        "bomb down.bmp": changed(
            encode(photo(1), "BMP"), at_18=struct.pack("<ii", 30_000, -30_000)
        ),
        "bomb.webp": changed(webp, at_26=large + large),
        "bomb lossless.webp": changed(lossless, at_21=b"\xff\xff\xff\x0f"),
        "bomb extended.webp": changed(extended, at_24=b"\xff\xff\x03\xff\xff\x03"),
        "bomb.tif": changed(tiff, **{f"at_{width + 8}": side, f"at_{height + 8}": side}),
    }


def images():
    """Image files by name: content, and whether it is refused or read rightly."""
    jpeg, lossless = encode(photo(2), "JPEG"), encode(photo(2), "PNG")
    formats = {
        "jpg": jpeg,
        "png": lossless,
        "gif": encode(photo(2), "GIF"),
        "bmp": encode(photo(2), "BMP"),
        "webp": encode(photo(2), "WEBP"),
        "tif": encode(photo(2), "TIFF", compression="tiff_lzw"),
    }
    for ending, content in formats.items():
        points = 16 if ending in ("jpg", "png") else 5
        for i in range(points):
            yield "truncated", f"cut {i}.{ending}", content[: len(content) * i // points], REFUSED
        for i in range(4 if ending not in ("bmp", "webp") else 0):  # there zeros are pixels
            start = len(content) * (i + 1) // 6
            yield "zeroed", f"zero {i}.{ending}", content[:start] + bytes(start), REFUSED
        yield "only zeros", f"zeros.{ending}", bytes(len(content)), REFUSED
        yield "HTML page", f"page.{ending}", PAGE, REFUSED
        yield "Git LFS pointer", f"pointer.{ending}", POINTER, REFUSED
        yield "text", f"text.{ending}", "no image, but wörds".encode(), REFUSED
    for i, place in enumerate((16, 24, 29, 36, 60, len(lossless) - 20)):
        damaged = changed(lossless, **{f"at_{place}": b"\xee\xee\xee"})
        yield "overwritten", f"wrong {i}.png", damaged, REFUSED
    for name, content in bombs().items():
        yield "decompression bomb", name, content, REFUSED
    floats = Image.fromarray(np.ones((4, 4), np.float32))
    yield "32 bits", "float.tif", encode(floats, "TIFF"), REFUSED
    deep = Image.fromarray(np.arange(1920, dtype=np.uint16).reshape(40, 48) * 30)
    for kind in ("PNG", "TIFF"):
        yield "16 bits", f"deep.{ENDING[kind]}", encode(deep, kind), RIGHT
    for kind in ("JPEG", "TIFF"):
        ink = photo(3 + len(kind)).convert("CMYK")
        yield "CMYK", f"ink.{ENDING[kind]}", encode(ink, kind), RIGHT
    for i, kind in enumerate(ENDING):
        yield "1 x 1", f"dot.{ENDING[kind]}", encode(photo(10 + i, (1, 1)), kind), RIGHT
        yield "other ending", f"other {kind}.jpg", encode(photo(20 + i), kind), RIGHT
        yield "long and thin", f"thin.{ENDING[kind]}", encode(photo(30 + i, (300, 2)), kind), RIGHT


def odd_paths(folder):
    """Makes what has the name of an image and is none; yields kind and name."""
    os.mkfifo(folder / "pipe.png")
    yield "pipe", "pipe.png"
    (folder / "folder.jpg").mkdir()
    yield "empty folder", "folder.jpg"
    for kind, name, target in (
        ("link to nothing", "nothing.jpg", "/nowhere/at/all.jpg"),
        ("link loop", "loop.jpg", "loop.jpg"),
        ("link to a device", "zero.jpg", "/dev/zero"),
        ("link to a device", "tty.png", "/dev/random"),
        ("link loop", "first.png", "second.png"),
        ("link loop", "second.png", "first.png"),
    ):
        (folder / name).symlink_to(target)
        yield kind, name
    if os.geteuid():  # root reads everything
        (folder / "locked.png").write_bytes(encode(photo(4), "PNG"))
        (folder / "locked.png").chmod(0)
        yield "no permission", "locked.png"
