"""Hostile and broken zip and tar files, as bytes by name."""

import gzip
import io
import stat
import struct
import tarfile
import warnings
import zipfile

MEMBER = "img_align_celeba/000001.jpg"
LINKS, DEVICES = stat.S_IFLNK | 0o777, stat.S_IFCHR | 0o666


def zipped(*members, compression=zipfile.ZIP_DEFLATED):
    """A zip file of (name, content) or (name, content, mode)."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content, *mode in members:
            info = zipfile.ZipInfo("x")
            info.filename = name  # unchanged, even with NUL
            info.compress_type = compression
            info.external_attr = (mode[0] if mode else 0o644) << 16
            archive.writestr(info, content)
    return file.getvalue()


def tarred(*members):
    """A tar file of (name, type, target)."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            info.size = 4 if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(b"evil"))
    return file.getvalue()


def hostile(outside):
    """Makes 32 archives that would write to the folder `outside`, or fill memory or disk."""
    evil, photo = f"{outside}/evil", b"\xff\xd8\xff" + bytes(500)
    plain = zipped((MEMBER, photo))
    end = plain.rindex(b"PK\x05\x06")
    directory = struct.unpack("<I", plain[end + 16 : end + 20])[0]
    bomb = zipped((MEMBER, bytes(200 << 20)))
    file, link, hard = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
    zips = {
        "absolute path": zipped((evil, b"evil"), (MEMBER, photo)),
        "dots": zipped((f"{'../' * 12}{evil}", b"evil"), (MEMBER, photo)),
        "dots inside": zipped((f"img_align_celeba/../../..{evil}", b"evil")),
        "backslashes": zipped(("..\\..\\evil", b"evil"), (MEMBER.replace("/", "\\"), photo)),
        "drive": zipped(("C:\\evil", b"evil")),
        "NUL in a name": zipped(("evil\0.jpg", b"evil"), (MEMBER, photo)),
        "link": zipped((MEMBER, str(outside).encode(), LINKS)),
        "link and file below": zipped(("img", str(outside).encode(), LINKS), ("img/evil", b"evil")),
        "device": zipped((MEMBER, b"", DEVICES)),
        "twice": zipped((MEMBER, photo), (MEMBER, b"evil")),
        "folder": zipped((f"{MEMBER}/", b"")),
        "empty name": zipped(("", b"evil"), (MEMBER, photo)),
        "long name": zipped(("a" * 60_000, b"evil"), (MEMBER, photo)),
        "bomb": bomb,
        "bomb that lies about its size": bomb.replace(struct.pack("<I", 200 << 20), b"\x64\0\0\0"),
        "nested bomb": zipped((MEMBER, bomb)),
        "many members": zipped(*((f"{i}", b"") for i in range(3000))),
        "overlapping": plain[:directory] + plain[directory:end] * 2 + plain[end:],
        "wrong checksum": plain.replace(plain[14:18], b"\1\2\3\4"),
        "encrypted": plain[: directory + 8] + b"\1\0" + plain[directory + 10 :],
        "unknown method": plain[: directory + 10] + b"\x63\0" + plain[directory + 12 :],
        "no directory": plain[:directory],
        "cut": plain[: len(plain) // 2],
        "directory beyond": plain[: end + 16] + b"\xff\xff\xff\x7f" + plain[end + 20 :],
    }
    tars = {
        "tar, absolute path": tarred((evil, file, "")),
        "tar, dots": tarred((f"{'../' * 12}{evil}", file, "")),
        "tar, link": tarred(("a", link, str(outside)), ("a/evil", file, "")),
        "tar, hard link": tarred(("a", hard, "/etc/passwd"), (MEMBER, file, "")),
        "tar, device": tarred((MEMBER, tarfile.CHRTYPE, "")),
        "tar, pipe": tarred((MEMBER, tarfile.FIFOTYPE, "")),
        "tar, twice": tarred((MEMBER, file, ""), (MEMBER, link, str(outside))),
        "tar.gz, bomb": gzip.compress(bytes(200 << 20)),
    }
    return zips | tars
