"""What a file is, by its content: what is taken, as which pixels, and what is refused."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import SHAPE, pixels, write_image
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from components.datasets.folder import content
from components.datasets.folder.content import Unusable, decode, look

RGB = pixels(1)
GREY = pixels(2, SHAPE[:2])


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def palette() -> Image.Image:
    return Image.fromarray(RGB).quantize(16)


def with_alpha(mode: str, alpha: int) -> Image.Image:
    drawn = Image.fromarray(GREY if mode == "LA" else RGB)
    drawn.putalpha(alpha)
    return drawn


def exact(image: Image.Image) -> np.ndarray:
    """A palette is colours, even where these happen to be grey: otherwise one black and white
    picture among others would be of another kind."""
    grey = image.mode in ("1", "L", "LA")
    return np.asarray(image.convert("L" if grey else "RGB")).reshape(*SHAPE[:2], 1 if grey else 3)


TAKEN = {
    **{f"RGB-{f}": (Image.fromarray(RGB), f, {}) for f in ("PNG", "BMP", "TIFF", "PPM")},
    **{f"L-{f}": (Image.fromarray(GREY), f, {}) for f in ("PNG", "BMP", "TIFF", "PPM")},
    "lossless-WEBP": (Image.fromarray(RGB), "WEBP", {"lossless": True}),
    "one-bit-PNG": (Image.fromarray(GREY).convert("1"), "PNG", {}),
    "one-bit-TIFF": (Image.fromarray(GREY).convert("1"), "TIFF", {}),
    "PBM": (Image.fromarray(GREY).convert("1"), "PPM", {}),
    "palette-PNG": (palette(), "PNG", {}),
    "two-bit-palette-PNG": (Image.fromarray(RGB).quantize(4), "PNG", {"bits": 2}),
    "GIF": (palette(), "GIF", {}),
    "grey-GIF-of-a-palette": (Image.fromarray(GREY).quantize(16), "GIF", {}),
    "opaque-RGBA": (with_alpha("RGBA", 255), "PNG", {}),
    "opaque-LA": (with_alpha("LA", 255), "PNG", {}),
    "solid-WEBP": (with_alpha("RGBA", 255), "WEBP", {"lossless": True}),
    "deflated-TIFF": (Image.fromarray(RGB), "TIFF", {"compression": "tiff_deflate"}),
    "opaque-RGBA-TIFF": (with_alpha("RGBA", 255), "TIFF", {}),
}


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ""])
@pytest.mark.parametrize("case", TAKEN)
def test_an_image_is_taken_exactly_whatever_its_name(
    case: str, ending: str, tmp_path: Path
) -> None:
    image, format, options = TAKEN[case]
    data = encoded(image, format, **options)
    path = tmp_path / f"image{ending}"
    path.write_bytes(data)
    found, picture = look(path), decode(data)
    assert found is not None
    assert (found.format, found.shape) == (format, picture.pixels.shape)
    np.testing.assert_array_equal(picture.pixels, exact(image))
    assert picture.opaque is case.startswith("opaque")


@pytest.mark.parametrize(("mode", "quality"), [("RGB", 95), ("RGB", 60), ("L", 90)])
def test_a_jpeg_is_what_tensorflow_decodes_accurately(mode: str, quality: int) -> None:
    import tensorflow as tf

    small = Image.fromarray(RGB if mode == "RGB" else GREY).resize((31, 45))
    data = encoded(small, "JPEG", quality=quality)
    accurate = tf.io.decode_jpeg(data, dct_method="INTEGER_ACCURATE").numpy()
    np.testing.assert_array_equal(decode(data).pixels, accurate)


def sixteen_bit_colours() -> bytes:
    """A PNG of 1 x 1 pixels, which Pillow opens as RGB with the lower half of each value gone."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b"\x00" + b"\x12\x34" * 3))
        + chunk(b"IEND", b"")
    )


def tiff(
    bits: int, channels: int, kind: int, more: int = 0, planes: int = 1, colours: int = 0
) -> bytes:
    """A TIFF of one pixel. kind: 1 for whole numbers, 2 for those with a sign. more: channels among
    them that are neither grey nor colours. planes: 2 for each channel alone. colours: how the
    others are meant, if not as grey or RGB."""
    tags = [
        (256, 1), (257, 1), (258, bits), (259, 1),
        (262, colours or (2 if channels - more == 3 else 1)), (273, 8), (277, channels), (278, 1),
        (279, channels * bits // 8), (284, planes), *[(338, 0)] * (more > 0), (339, kind),
    ]  # fmt: skip
    pixel, entries, after = b"\x12\x34" * 8, b"", 24 + 2 + 12 * len(tags) + 4
    values = b""
    for tag, value in tags:
        several = {258: channels, 338: more, 339: channels}.get(tag, 1)
        if several > 2:
            entries += struct.pack("<HHII", tag, 3, several, after + len(values))
            values += struct.pack(f"<{several}H", *[value] * several)
        else:
            entries += struct.pack("<HHIHH", tag, 3, several, value, value * (several == 2))
    ifd = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return struct.pack("<2sHI", b"II", 42, 24) + pixel + ifd + values


def test_the_written_tiff_is_one() -> None:
    np.testing.assert_array_equal(decode(tiff(8, 3, 1)).pixels, [[[0x12, 0x34, 0x12]]])


def bmp(bits: int) -> bytes:
    """A BMP of one pixel without palette."""
    head = struct.pack("<IiiHHIIiiII", 40, 1, 1, 1, bits, 0, 4, 0, 0, 0, 0)
    return struct.pack("<2sIHHI", b"BM", 58, 0, 0, 54) + head + b"\x12\x34\x56\x00"


def test_the_padding_of_a_bmp_is_no_channel() -> None:
    for bits in (24, 32):
        picture = decode(bmp(bits))
        np.testing.assert_array_equal(picture.pixels, [[[0x56, 0x34, 0x12]]])
        assert not picture.opaque


def animated(format: str) -> bytes:
    frames = [Image.fromarray(pixels(seed)) for seed in range(2)]
    return encoded(frames[0], format, save_all=True, append_images=frames[1:])


def key_colour() -> bytes:
    return encoded(Image.new("RGB", (4, 4), (1, 2, 3)), "PNG", transparency=(1, 2, 3))


def clear_palette() -> bytes:
    return encoded(palette(), "PNG", transparency=0)


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "RGBA": (
        lambda: encoded(with_alpha("RGBA", 254), "PNG"),
        "has the colour mode RGBA; expected grey or RGB with 8 bits a channel: some of its pixels "
        "are transparent: put it on a background",
    ),
    "LA": (lambda: encoded(with_alpha("LA", 0), "PNG"), "the colour mode LA; .*transparent"),
    "WEBP": (lambda: encoded(with_alpha("RGBA", 9), "WEBP"), "the colour mode RGBA; .*transparent"),
    "key-colour": (key_colour, "the colour mode RGB; .*transparent"),
    "palette": (clear_palette, "the colour mode P; .*transparent"),
    "16-bit-grey": (
        lambda: encoded(Image.fromarray(np.zeros((4, 4), np.uint16)), "PNG"),
        "has 16 bits a channel; expected 8: scale its values to 0 to 255",
    ),
    "16-bit-colours": (sixteen_bit_colours, "has 16 bits a channel; expected 8: scale its values"),
    "16-bit-TIFF": (lambda: tiff(16, 3, 1), "has 16 bits a channel"),
    "signed-TIFF": (lambda: tiff(8, 1, 2), "has numbers with a sign; expected 0 to 255"),
    "near-infrared": (
        lambda: tiff(8, 4, 1, more=1),
        r"has 4 channels, of which 3 are read \(RGB\); expected no others, such as near infrared: "
        "save it without them",
    ),
    "five-channels": (lambda: tiff(8, 5, 1, more=2), "has 5 channels, of which 3 are read"),
    "five-channels-in-planes": (
        lambda: tiff(8, 5, 1, more=2, planes=2), "has 5 channels, of which 3 are read"
    ),
    "near-infrared-in-planes": (
        lambda: tiff(8, 4, 1, more=1, planes=2), "has 4 channels, of which 3 are read"
    ),
    "grey-and-more-in-planes": (
        lambda: tiff(8, 2, 1, more=1, planes=2), r"has 2 channels, of which 1 are read \(L\)"
    ),
    "grey-and-more": (lambda: tiff(8, 2, 1, more=1), "cannot be decoded as an image"),
    "YCbCr-TIFF": (
        lambda: encoded(Image.fromarray(RGB).convert("YCbCr"), "TIFF") + bytes(9999),
        "the colour mode YCbCr, uncompressed; expected grey or RGB",
    ),
    **{
        f"{white}-is-white-{kind.decode()}": (
            lambda white=white, kind=kind: kind + b" 1 1 %d\n1 1 1" % white,
            f"has {white} for white; expected 255: scale its values to 0 to 255",
        )
        for white in (1, 15, 100, 254)
        for kind in (b"P2", b"P3", b"P5", b"P6")
    },
    "16-bit-BMP": (
        lambda: bmp(16), "has 16 bits a pixel, whose values have no one meaning in 8 bits"
    ),
    "16-bit-PGM": (lambda: b"P5 1 1 65535\n\x12\x34", "has 32 bits a channel; expected 8"),
    "16-bit-PPM": (lambda: b"P6 1 1 65535\n" + b"\x12\x34" * 3, "has 16 bits a channel"),
    "float-TIFF": (
        lambda: encoded(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"),
        "has 32 bits a channel; expected 8",
    ),
    "PFM": (lambda: b"Pf 1 1 -1.0\n" + b"\0" * 4, "has 32 bits a channel; expected 8"),
    "CMYK": (
        lambda: encoded(Image.fromarray(RGB).convert("CMYK"), "JPEG"), "the colour mode CMYK"
    ),
    "LAB": (lambda: encoded(Image.new("LAB", (4, 4)), "TIFF"), "the colour mode LAB"),
    **{
        f"animated-{f}": (lambda f=f: animated(f), "has 2 frames or pages; expected one")
        for f in ("GIF", "WEBP", "PNG", "TIFF")
    },
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_be_altered_is_refused(case: str, tmp_path: Path) -> None:
    make, message = REFUSED[case]
    (tmp_path / "image.png").write_bytes(data := make())
    with pytest.raises(Unusable, match=message):
        look(tmp_path / "image.png")
    with pytest.raises(Unusable, match=message):
        decode(data)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_image_is_turned_as_viewers_show_it(
    format: str, orientation: int, tmp_path: Path
) -> None:
    drawn = Image.fromarray(pixels(3, (16, 8, 3)))
    exif = Image.Exif()
    exif[content.ORIENTATION] = orientation
    options = {"WEBP": {"lossless": True}}.get(format, {})
    data = encoded(drawn, format, exif=exif, **options)
    (tmp_path / "image").write_bytes(data)
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation)  # fmt: skip
    plain = Image.open(io.BytesIO(encoded(drawn, format, **options)))
    expected = np.asarray(plain if turn is None else plain.transpose(turn))
    picture, found = decode(data), look(tmp_path / "image")
    assert found is not None
    np.testing.assert_array_equal(picture.pixels, expected)
    assert picture.turned is (orientation > 1)
    assert found.shape == expected.shape


def test_a_phones_jpeg_with_a_second_picture_is_its_first(tmp_path: Path) -> None:
    """Pillow's name of it is MPO, the others are previews."""
    data = animated("MPO")
    (tmp_path / "a.jpg").write_bytes(data)
    found = look(tmp_path / "a.jpg")
    assert found is not None
    assert found.shape == SHAPE
    assert decode(data).pixels.shape == SHAPE


def test_what_is_no_image_is_damaged_only_where_it_is_called_one(tmp_path: Path) -> None:
    for name in ("notes.txt", "LICENSE", "scores.csv", "empty"):
        (tmp_path / name).write_bytes(b"P5 no image" if name != "empty" else b"")
        assert look(tmp_path / name) is None
    for name, text in (("a.PNG", b"no image"), ("b.tif", b"P6"), ("c.jpeg", b"")):
        (tmp_path / name).write_bytes(text)
        with pytest.raises(Unusable, match=r"cannot be decoded as an image|is empty"):
            look(tmp_path / name)


def test_what_is_no_file_is_never_opened(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "9.png").mkdir()
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "circle.png").symlink_to(tmp_path / "circle.png")
    for name, message in (
        ("pipe.png", "is no file but a pipe, a socket or a device"),
        ("zero.png", "is no file but a pipe, a socket or a device"),
        ("9.png", "is a folder; name its files"),
        ("gone.png", "is a link to nothing; mend or remove it"),
        ("circle.png", "is a link to nothing"),
    ):
        with pytest.raises(Unusable, match=message):
            look(tmp_path / name)
    write_image(tmp_path / "real.png", 1)
    (tmp_path / "link.png").symlink_to(tmp_path / "real.png")
    assert look(tmp_path / "link.png") is not None


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "a.png", 1)

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", denied)
    with pytest.raises(Unusable, match=r"cannot be read \(Permission denied\)"):
        look(tmp_path / "a.png")


def test_a_text_that_bursts_is_told_by_the_name_of_its_file(tmp_path: Path) -> None:
    """Pillow refuses more than a megabyte of it with an error of its own kind."""
    text = PngInfo()
    text.add_text("history", "a" * 2_000_000, zip=True)
    data = encoded(Image.fromarray(RGB), "PNG", pnginfo=text)
    (tmp_path / "a.png").write_bytes(data)
    for read in (lambda: look(tmp_path / "a.png"), lambda: decode(data)):
        with pytest.raises(Unusable, match="cannot be decoded as an image"):
            read()


def huge(format: str, side: int) -> bytes:
    """A few bytes that claim to be side x side pixels."""
    data = bytearray(encoded(Image.new("L", (1, 1)), format))
    if format == "PNG":
        data[16:24] = struct.pack(">II", side, side)
        data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    elif format == "PPM":
        data = bytearray(f"P5 {side} {side} 255\n".encode() + b"\0")
    elif format == "BMP":
        data[18:26] = side.to_bytes(4, "little") * 2
    elif format == "GIF":
        data[6:10] = min(side, 65535).to_bytes(2, "little") * 2
    return bytes(data)


@pytest.mark.parametrize("side", [9000, 60000, 2**20])
@pytest.mark.parametrize("format", ["PNG", "PPM", "BMP", "GIF"])
def test_a_head_that_claims_too_much_takes_no_memory(
    format: str, side: int, tmp_path: Path
) -> None:
    import tracemalloc

    data = huge(format, side)
    (tmp_path / "bomb.png").write_bytes(data)
    tracemalloc.start()
    with pytest.raises(Unusable, match=r"claims to have .* pixels; expected at most 67,108,864"):
        look(tmp_path / "bomb.png")
    with pytest.raises(Unusable, match="claims to have"):
        decode(data)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()
