"""Small images that would cost a server much time or memory, if it believed what they say."""

import io
import struct
import zlib


def progressive_jpeg(scans: int, side: int = 64) -> bytes:
    """A JPEG whose scans have a few bytes each; every one goes through the whole picture."""
    blocks = -((-side // 8) ** 2)
    start = b"\xff\xd8\xff\xdb" + struct.pack(">HB", 67, 0) + bytes([1] * 64)
    start += b"\xff\xc2" + struct.pack(">HBHHB", 11, 8, side, side, 1) + bytes([1, 0x11, 0])
    for table, symbol in ((0x00, 0x00), (0x10, 0xE0)):  # code 0: no difference; a run of blocks
        start += b"\xff\xc4" + struct.pack(">HB", 20, table) + bytes([1] + [0] * 15 + [symbol])
    first = _scan(0, 0, "0" * blocks)
    return (
        start + first + _scan(1, 63, ("0" + "1" * 14) * -(-blocks // 32767)) * scans + b"\xff\xd9"
    )


def _scan(start: int, end: int, bits: str) -> bytes:
    bits += "1" * (-len(bits) % 8)
    data = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    head = struct.pack(">HB", 8, 1) + bytes([1, 0x00, start, end, 0])
    return b"\xff\xda" + head + data.replace(b"\xff", b"\xff\0")


def gif(width: int, height: int, extension: bytes = b"!\xf9\x01\0\0") -> bytes:
    """A GIF of one pixel, and a second picture of any size; Pillow stops before it."""
    dot = b"\x02\x02\x44\x01\0"
    start = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    first, second = (struct.pack("<HHHHB", 0, 0, *size, 0) for size in ((1, 1), (width, height)))
    return start + b"," + first + dot + extension + b"," + second + dot + b";"


def png(texts: int, size: int = 7_900_000) -> bytes:
    """A PNG of 28 × 28 pixels, with texts behind them that become `size` bytes each."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 28, 28, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(29 * 28)))
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes([97]) * size))
    return b"\x89PNG\r\n\x1a\n" + head + pixels + text * texts + chunk(b"IEND", b"")


def tiff(strips: int, side: int = 256) -> bytes:
    """A TIFF of one bit a pixel, whose strips are all the same half of it."""
    data = b"\x55" * (side // 8 * side // 2)
    end = 8 + len(data)
    tags = [(256, 1, side), (257, 1, side), (258, 1, 1), (259, 1, 1), (262, 1, 1)]
    tags += [(273, strips, end), (277, 1, 1), (278, 1, side // 2), (279, strips, end)]
    listed = b"".join(struct.pack("<HHII", tag, 4, count, value) for tag, count, value in tags)
    offsets = struct.pack("<I", 8) * strips
    start = b"II*\0" + struct.pack("<I", end + len(offsets)) + data + offsets
    return start + struct.pack("<H", len(tags)) + listed + bytes(4)


def webp(side: int = 5000) -> bytes:
    """A lossless WebP of one colour: a second to decode, about a KiB."""
    from PIL import Image

    written = io.BytesIO()
    Image.new("RGB", (side, side), (9, 80, 200)).save(written, "WEBP", lossless=True, method=0)
    return written.getvalue()
