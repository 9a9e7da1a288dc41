"""Damaged and hostile image files, by seed: heads that changed and are signed again, cut files,
chunks in another order, texts and pixels that burst."""

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image
from png_files import SIGNATURE, bomb, chunk, png

EXTREMES = (0, 1, 7, 9, 255, 65535, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)


def originals(rng: np.random.Generator) -> list[bytes]:
    """Small images in many forms."""
    colours = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    grey, rgb = Image.fromarray(colours[..., 0]), Image.fromarray(colours)
    clear = rgb.copy()
    clear.putalpha(200)
    forms = [(image, "PNG", {}) for image in (grey, rgb, clear, rgb.quantize(7), grey.convert("1"))]
    forms += [(grey, "PNG", {"transparency": 3}), (Image.new("I;16", (8, 8), 700), "PNG", {})]
    forms += [(image, "JPEG", {"progressive": p}) for image in (grey, rgb) for p in (False, True)]
    forms += [
        (image, f, {}) for image in (grey, rgb) for f in ("BMP", "GIF", "TIFF", "WEBP", "PPM")
    ]
    files = []
    for image, form, options in forms:
        file = io.BytesIO()
        image.save(file, form, **options)
        files.append(file.getvalue())
    return files


def fuzzed(seed: int, count: int, only_png: bool = False) -> Iterator[bytes]:
    """So many files; the same for the same seed. only_png: whether all of them began as PNG."""
    rng = np.random.default_rng(seed)
    files = [data for data in originals(rng) if data.startswith(SIGNATURE) or not only_png]
    yield from (bomb(), bomb(8000), bomb(9000, 8, 6), *bursting_texts())
    ways = [bytes_changed, number_changed, cut, repeated, head_changed, chunks_moved]
    for _ in range(count):
        data = files[int(rng.integers(len(files)))]
        for _ in range(int(rng.integers(1, 3))):
            data = ways[int(rng.integers(len(ways)))](data, rng)
        yield data


def bursting_texts() -> Iterator[bytes]:
    """Kilobytes that become megabytes: texts and a profile."""
    burst = zlib.compress(bytes(7_900_000), 9)
    for kind, begin in ((b"zTXt", b"k\0\0"), (b"iTXt", b"k\0\1\0\0\0"), (b"iCCP", b"k\0\0")):
        yield png(8, 8, more=chunk(kind, begin + burst) * 10)
        yield png(8, 8, more=chunk(kind, begin + zlib.compress(bytes(300_000_000), 1)))


def bytes_changed(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for place in rng.integers(0, rng.choice([64, len(data) + 1]), rng.integers(1, 5)):
        changed[min(place, len(data) - 1)] = rng.integers(256)
    return bytes(changed)


def number_changed(data: bytes, rng: np.random.Generator) -> bytes:
    """An extreme number somewhere in the head."""
    place, form = int(rng.integers(4, 60)), str(rng.choice([">I", "<I", ">H", "<H"]))
    size = struct.calcsize(form)
    number = struct.pack(form, int(rng.choice(EXTREMES)) % (1 << 8 * size))
    return data[:place] + number + data[place + size :]


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(0, len(data)))] or b"\0"


def repeated(data: bytes, rng: np.random.Generator) -> bytes:
    """A part of it once more."""
    first, last, place = sorted(rng.integers(0, len(data), 3).tolist())
    return data[:place] + data[first:last] + data[place:]


def head_changed(data: bytes, rng: np.random.Generator) -> bytes:
    """A PNG whose head says something else, with the right sum."""
    if not data.startswith(SIGNATURE) or len(data) < 33:
        return data
    fields = list(struct.unpack(">IIBBBBB", data[16:29]))
    place = int(rng.integers(7))
    small = [0, 1, 2, 3, 4, 6, 8, 16, 255]
    fields[place] = int(rng.choice([4, 8, 9, *EXTREMES] if place < 2 else small))
    return SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", *fields)) + data[33:]


def chunks_moved(data: bytes, rng: np.random.Generator) -> bytes:
    """A PNG with its chunks in another order, one of them twice, and perhaps a strange one."""
    if not data.startswith(SIGNATURE):
        return data
    chunks, place = [], 8
    while place + 12 <= len(data):
        size = int.from_bytes(data[place : place + 4])
        chunks.append(data[place : place + 12 + size])
        place += 12 + size
    strange = (b"tRNS", b"acTL", b"PLTE", b"gAMA", b"sBIT", b"eXIf", b"IHDR", b"IEND", b"IDAT")
    kind = strange[int(rng.integers(len(strange)))]
    chunks.append(chunk(kind, rng.bytes(int(rng.choice([0, 1, 2, 4, 6, 8, 13])))))
    chunks = [chunks[i] for i in rng.integers(0, len(chunks), len(chunks))]
    first = [SIGNATURE] + ([data[8:33]] if rng.random() < 0.7 else [])
    return b"".join(first + chunks)
