"""Files cut off, with bytes that changed, with another's ending, with heads that lie: each is told
by its name or decoded as it was, memory is bounded, and nothing stays behind."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pictures import SHAPE, pixels, write_folder
from PIL import Image

from components.datasets import stock, worker
from components.datasets.folder.content import FORMATS, Unusable, decode
from components.datasets.prepare import prepare
from foundation.errors import DataError

ENDINGS = ("png", "jpg", "bmp", "gif", "webp", "tif", "ppm")


def encoded(format: str, shape: tuple[int, ...] = (24, 20, 3)) -> bytes:
    file = io.BytesIO()
    options = {"WEBP": {"lossless": True}}.get(format, {})
    Image.fromarray(pixels(5, shape)).save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_that_was_cut_off_is_refused_or_whole(format: str) -> None:
    """A PNG or GIF whose last bytes are missing may still hold all pixels."""
    data = encoded(format)
    whole = decode(data).pixels
    for part in np.linspace(0, len(data) - 1, 60, dtype=int):
        try:
            found = decode(data[:part]).pixels
        except Unusable:
            continue
        np.testing.assert_array_equal(found, whole, err_msg=f"{format} cut at {part}")
    with pytest.raises(Unusable):
        decode(data[: len(data) // 2])


@pytest.mark.parametrize("format", FORMATS)
def test_changed_bytes_are_refused_or_decoded(format: str) -> None:
    """Whatever Pillow raises is a sentence."""
    data, rng, told = bytearray(encoded(format)), np.random.default_rng(0), []
    for _ in range(150):
        changed = data.copy()
        # Heads are short, and most of what can go wrong stands there.
        for place in rng.integers(0, rng.choice([64, len(data)]), rng.integers(1, 5)):
            changed[min(place, len(data) - 1)] = rng.integers(256)
        try:
            found = decode(bytes(changed)).pixels
        except Unusable as error:
            told.append(str(error))
        else:
            assert (found.dtype, found.ndim, found.shape[2] in (1, 3)) == (np.uint8, 3, True)
    assert told
    assert all(message.isprintable() for message in told)


def spoiled(seed: int) -> tuple[str, bytes]:
    """A file with an ending of an image and something else in it."""
    rng = np.random.default_rng(seed)
    kind = seed % 4
    compressed = ("PNG", "JPEG", "GIF", "WEBP")  # zeros are an image in other formats
    format = str(rng.choice(compressed if kind == 3 else FORMATS))
    ending, data = rng.choice(ENDINGS), encoded(format, SHAPE)
    if kind == 0:
        return f"empty.{ending}", b""
    if kind == 1:
        return f"cut.{ending}", data[: len(data) // int(rng.integers(2, 9))]
    if kind == 2:
        return f"noise.{ending}", rng.bytes(500)
    return f"zeros.{ending}", data[:30] + bytes(len(data) - 30)


@pytest.mark.parametrize("seed", range(8))
def test_damaged_files_are_named_and_nothing_is_left(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock, "run", worker.run)
    root = write_folder(tmp_path / "pets")
    name, data = spoiled(seed)
    (root / "train" / "dog" / name).write_bytes(data)
    with pytest.raises(DataError, match=rf"1 of 11 files cannot be taken:\n.*/train/dog/{name} "):
        prepare(str(root), str(tmp_path / "data"))
    left = [path for path in (tmp_path / "data").rglob("*") if path.suffix != ".lock"]
    assert [path for path in left if path.is_file()] == []


def test_what_only_decoding_finds_is_told_all_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heads are right; a whole split may be broken."""
    monkeypatch.setattr(stock, "run", worker.run)
    root = write_folder(tmp_path / "pets")
    for path in [*root.glob("test/*/*.png"), root / "train/cat/0.png"]:
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match="5 of 10 files cannot be taken:") as error:
        prepare(str(root), str(tmp_path / "data"))
    assert str(error.value).count("cannot be decoded as an image") == 5


MEMORY = """
import resource, sys
from pathlib import Path
from components.datasets.folder.content import Unusable, decode, look
import PIL.Image, PIL.ImageOps, numpy
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in sys.argv[1:]:
    for read in (lambda: look(Path(name)), lambda: decode(Path(name).read_bytes())):
        try:
            read()
        except Unusable:
            pass
        else:
            raise SystemExit(f"{name} was taken")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def bombs(folder: Path) -> list[Path]:
    """A few bytes that claim to be large, and large images of nothing."""
    files = {
        "a.ppm": b"P6 60000 60000 255\n" + bytes(100),
        "b.pgm": b"P5 99999 9999999 255\n",
        "c.webp": b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0\xff\x3f\0\xff\x3f\0" + bytes(8),
        "d.gif": b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;",
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    nothing = Image.new("1", (8_200, 8_200))
    nothing.save(folder / "e.png")
    nothing.save(folder / "f.tif", compression="group4")
    return [*(folder / name for name in files), folder / "e.png", folder / "f.tif"]


def test_bombs_take_no_memory(tmp_path: Path) -> None:
    """In a process of its own, whose peak is its own."""
    files = [str(path) for path in bombs(tmp_path)]
    done = subprocess.run([sys.executable, "-c", MEMORY, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 60_000, "kB"
