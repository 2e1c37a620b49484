"""Image files of a user: what the network's graph cannot decode is read with Pillow."""

import io
import math
import pathlib
import warnings
from typing import TYPE_CHECKING

from ...errors import first_line

if TYPE_CHECKING:
    from PIL import Image

# More pixels are refused by what the header says, before any is decoded: that of a decompression
# bomb is the same as that of a picture. Pillow warns of more.
MAX_PIXELS = 89_478_485
TOO_LARGE = "more than 89 megapixels; make it smaller"
_LAYERS = 8  # how often the parts of a file may contain a pixel: a TIFF has a layer for each colour
_ORIENTATION = 0x0112  # the EXIF tag
# PIL.Image.Transpose for each orientation but 1, upright.
TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}


def read_image(path: pathlib.Path) -> bytes:
    """Returns a file's content; nothing if it cannot be read, so that the decoder refuses it."""
    try:
        # Reading a pipe or a device may never end.
        return path.read_bytes() if path.is_file() else b""
    except OSError:
        return b""


def readable(content: bytes) -> bytes:
    """Returns an image file that `inputs.images.decode_image` decodes as Pillow shows it.

    This is `content` itself if the graph decodes it: JPEG, PNG, lossy WebP, BMP of 24 bits, and GIF
    of one frame that is opaque and fills the picture. Other formats become a PNG without loss:
    palettes in a BMP, animated or transparent WebP, TIFF. A file that nothing can read stays as it
    is, so that the graph refuses it.
    """
    if is_decoded_by_graph(content):
        return content
    try:
        return as_png(content)
    except Exception:  # Pillow raises errors of many types for damaged files
        return content


def as_png(content: bytes) -> bytes:
    """Converts an image file to a PNG, as Pillow shows it.

    Raises:
        Exception: Pillow cannot read it; of many types.
    """
    with open_image(content) as image:
        written = io.BytesIO()
        upright(image).save(written, "PNG", compress_level=1)
        return written.getvalue()


def is_decoded_by_graph(content: bytes) -> bool:
    """Whether the graph decodes an image file as Pillow shows it, see `readable`."""
    if content[:4] == b"\x89PNG" and len(content) > 25:
        # The graph turns JPEG only, and knows no single transparent colour.
        is_keyed = content[25] in (0, 2) and b"tRNS" in content.partition(b"IDAT")[0]
        return b"eXIf" not in content and not is_keyed
    if content[:2] == b"BM":
        return content[28:34] == b"\x18\0\0\0\0\0"  # 24 bits, uncompressed
    if content[:4] == b"RIFF":
        return content[8:16] == b"WEBPVP8 "  # neither transparent nor animated nor turned
    if content[:4] == b"GIF8":
        return _is_plain_gif(content)
    return content[:2] == b"\xff\xd8"


def _is_plain_gif(content: bytes) -> bool:
    """Whether a GIF is whole, and one opaque picture that fills the screen.

    The graph allocates all pictures of a GIF, of any size, whatever the screen's: each block is
    looked at, and what is unusual is left to Pillow, which reads the first picture.
    """
    pictures = 0
    try:
        at = 13 + _palette(content[10])
        while (kind := content[at]) != ord(";"):
            if kind == ord("!"):
                is_transparent = content[at + 1] == 0xF9 and content[at + 3] & 1
                if is_transparent and not pictures:
                    return False
                at += 2
            elif kind == ord(",") and content[at + 1 : at + 9] == bytes(4) + content[6:10]:
                pictures += 1
                at += 11 + _palette(content[at + 9])
            else:
                return False
            while size := content[at]:
                at += 1 + size
            at += 1
    except IndexError:  # cut off
        return False
    return pictures == 1


def _palette(flags: int) -> int:
    """Returns the bytes of a GIF's palette."""
    return 6 << (flags & 7) if flags & 0x80 else 0


def without_texts(content: bytes) -> bytes:
    """Returns a PNG without its texts, of which each KiB may become a MiB in the graph."""
    if content[:4] != b"\x89PNG" or not (b"zTXt" in content or b"iTXt" in content):
        return content
    kept, at = [content[:8]], 8
    while at < len(content):
        size = 12 + int.from_bytes(content[at : at + 4])
        if content[at + 4 : at + 8] not in (b"zTXt", b"iTXt"):
            kept.append(content[at : at + size])
        at += size
    return b"".join(kept)


def open_image(content: bytes) -> "Image.Image":
    """Opens an image file with Pillow; only its header is read, and the checksums of a PNG.

    Raises:
        ValueError: It has more pixels than `MAX_PIXELS`, or says that one is in many parts of it.
    """
    from PIL import Image

    # What Pillow warns of is an error here, or does not change the pixels.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        image = Image.open(io.BytesIO(content))
    except Image.DecompressionBombError:
        raise ValueError(TOO_LARGE) from None
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(TOO_LARGE)
    boxes = [part[1] for part in image.tile if part[1]]
    if sum((right - x) * (down - y) for x, y, right, down in boxes) > _LAYERS * math.prod(
        image.size
    ):
        raise ValueError("its parts overlap")  # each of a million could be the whole picture
    if image.format == "PNG":  # whose checksums Pillow does not look at when it decodes
        try:
            image.verify()
        except Exception:  # of many types, with and without a message
            raise ValueError("image file is truncated or damaged") from None
        image = Image.open(io.BytesIO(content))
    return image


def upright(image: "Image.Image") -> "Image.Image":
    """Returns the first frame as grey, RGB or RGBA of 8 bits, turned as EXIF says.

    Raises:
        ValueError: Pixels have 32 bits, whose black and white nobody knows.
    """
    import numpy as np
    from PIL import Image

    image.load()
    turn = TURNS.get(orientation(image))
    if image.mode in ("I", "F"):
        raise ValueError("pixels of 32 bits; expected 8 or 16")
    if image.mode.startswith("I;16"):  # Pillow would clip instead of scaling
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif is_transparent(image):
        image = image.convert("RGBA")
    elif image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    if turn is not None:
        image = image.transpose(Image.Transpose(turn))
    image.info = {}  # a PNG would keep them
    return image


def is_transparent(image: "Image.Image") -> bool:
    """Whether an image can be transparent somewhere."""
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def orientation(image: "Image.Image") -> int:
    """Returns the EXIF orientation, 1 (upright) to 8."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF data; the pixels are sound
        return 1
    return value if value in range(1, 9) else 1


def why_unreadable(content: bytes) -> str:
    """Returns the reason why Pillow cannot read an image file; "" if it can."""
    from PIL import UnidentifiedImageError

    if not content:
        return "empty file"
    try:
        with open_image(content) as image:
            upright(image)
    except UnidentifiedImageError:
        return "not an image of a known format"
    except Exception as error:
        return first_line(error)
    return ""
