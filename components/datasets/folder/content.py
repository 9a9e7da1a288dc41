"""What a file is, by its content: which images are taken, and as which pixels.

An image is taken where its pixels have one meaning in 8 bits a channel, grey or RGB; whatever would
change them (more bits, transparency, other colour spaces, several frames) is refused by name. There
is one decoder, Pillow, and one place that calls it, so that all commands see the same pixels.
Profiles of colours are not applied: a pixel is the number in the file.
"""

import functools
import stat
import struct
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from trainer.limits import MAX_PIXELS

if TYPE_CHECKING:
    from PIL.Image import Image

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
"""The first bytes of a PNG; width and height follow."""

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""Pillow's names of what is taken; PPM is PGM and PBM too."""

ENDINGS = frozenset(
    (
        ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff",
        ".ppm", ".pgm", ".pbm", ".pnm",
    )
)  # fmt: skip
"""A file that ends like this and is no image is damaged; any other is no data."""

CHANNELS = {"1": 1, "L": 1, "LA": 1, "P": 3, "PA": 3, "RGB": 3, "RGBA": 3}
"""Pillow's modes that hold 8 bits a channel, and the channels that are taken of them."""

MAX_BYTES = 8 * MAX_PIXELS
"""Of one file: no image of so many pixels needs more."""

ORIENTATION = 274
"""The number of the tag in EXIF."""


class Unusable(Exception):
    """An image that is not taken: why, and what to do."""


@dataclass(frozen=True)
class Look:
    """What the head of a file says: its format, and the shape as stored: height, width,
    channels."""

    format: str
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class Picture:
    """A decoded image. pixels: uint8 [h, w, c]. turned: by its EXIF orientation. opaque: its alpha
    channel, which says nothing, was left out."""

    pixels: np.ndarray[Any, np.dtype[np.uint8]]
    turned: bool
    opaque: bool


def look(path: Path) -> Look | None:
    """Read the head of a file; None where it is no image and is not called one.

    Raises:
        Unusable: it is called an image and is none, or is an image that is not taken.
    """
    if (problem := no_file(path)) is not None:
        raise Unusable(problem)
    called_image = path.suffix.lower() in ENDINGS
    try:
        with open(path, "rb") as file:
            image = _opened(file)
            return Look(str(image.format), _checked_shape(image, file))
    except _NoImage as error:
        if not called_image:
            return None
        raise Unusable(f"cannot be decoded as an image ({error}); replace or remove it") from error
    except OSError as error:
        raise Unusable(f"cannot be read ({error.strerror})") from error


def decode(data: bytes) -> Picture:
    """The pixels of an image, turned as every viewer shows it.

    Raises:
        Unusable: it is damaged, or is not taken.
    """
    try:
        image = _opened(file := BytesIO(data))
        _require_pixels(*image.size)
        if image.format == "PNG":
            _load(image)  # its orientation may stand at the end
        _, _, channels = _checked_shape(image, file)
        turned, opaque = _orientation(image) > 1, image.has_transparency_data
        return Picture(_pixels(image, channels), turned, opaque)
    except _NoImage as error:
        raise Unusable(f"cannot be decoded as an image ({error}); replace or remove it") from error


def file_of_image(path: Path) -> bytes:
    """The content of what somebody calls an image; raises Unusable where it cannot be one."""
    if (problem := no_file(path)) is not None:
        raise Unusable(problem)
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unusable(f"cannot be read ({error.strerror})") from error


def require_png(path: Path) -> None:
    """Look at the begin of a file that a decoder of PNG alone will get; raises Unusable where it is
    no PNG, with what it is."""
    if (problem := no_file(path)) is not None:
        raise Unusable(problem)
    try:
        with open(path, "rb") as file:
            if file.read(8) == PNG[:8]:
                return
            file.seek(0)
            found = str(_opened(file).format)
    except OSError as error:
        raise Unusable(f"cannot be read ({error.strerror})") from error
    except _NoImage as error:
        raise Unusable(f"cannot be decoded as an image ({error})") from error
    raise Unusable(f"is a {found}; the served model takes PNG: save it as one")


def require_size(data: bytes) -> None:
    """Read the head of an image that another decoder will decode; raises Unusable where it is none,
    or claims too many pixels."""
    if data.startswith(PNG):  # Pillow would take as long as a small image takes to be decoded
        width, height = struct.unpack(">II", data[16:24].ljust(8, b"\0"))
        _require_pixels(width, height)
        return
    try:
        _require_pixels(*_opened(BytesIO(data)).size)
    except _NoImage as error:
        raise Unusable(f"cannot be decoded as an image ({error})") from error


class _NoImage(Exception):
    """What Pillow cannot decode."""


def no_file(path: Path) -> str | None:
    """Why a path is not opened, with the cure; None for a file. Who opens a pipe waits for ever."""
    try:
        found = path.stat()
    except OSError as error:
        if path.is_symlink():
            return "is a link to nothing; mend or remove it"
        return f"cannot be read ({error.strerror})"
    if stat.S_ISDIR(found.st_mode):
        return "is a folder; name its files"
    if not stat.S_ISREG(found.st_mode):
        return "is no file but a pipe, a socket or a device; remove it"
    if found.st_size == 0 and path.suffix.lower() in ENDINGS:
        return "is empty; replace or remove it"
    if found.st_size > MAX_BYTES:
        return f"has {found.st_size:,} bytes, expected at most {MAX_BYTES:,}; remove it"
    return None


def _opened(file: IO[bytes]) -> "Image":
    from PIL import Image

    _silence()
    try:
        return Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise Unusable(_too_large("far more")) from error
    except Exception as error:  # a damaged file makes Pillow raise whatever it likes
        raise _NoImage(_reason(error)) from error


def _load(image: "Image") -> None:
    try:
        image.load()
    except Exception as error:
        raise _NoImage(_reason(error)) from error


@functools.cache
def _silence() -> None:
    """What Pillow warns of is refused here, or does not matter to pixels."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _require_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise Unusable(_too_large(f"{width} x {height}"))


def _checked_shape(image: "Image", file: IO[bytes]) -> tuple[int, int, int]:
    """Height, width and channels of an image that is taken; raises Unusable for any other."""
    _require_pixels(*image.size)
    try:
        frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        bits, orientation = _bits(image, file), _orientation(image)
        altered = _altered(image) if bits <= 8 else ""
        clear = image.mode in CHANNELS and image.has_transparency_data and _is_transparent(image)
    except Unusable:
        raise
    except Exception as error:
        raise _NoImage(_reason(error)) from error
    if frames > 1:
        raise Unusable(f"has {frames} frames or pages; expected one: save one of them alone")
    if bits > 8 or image.mode.startswith(("I", "F")):
        depth = bits if bits > 8 else 32
        raise Unusable(f"has {depth} bits a channel; expected 8: scale its values to 0 to 255")
    if altered and image.mode in CHANNELS:
        raise Unusable(altered)
    if image.mode not in CHANNELS or clear:
        cure = (
            "some of its pixels are transparent: put it on a background"
            if clear
            else "convert it, for instance with Pillow's Image.convert('RGB')"
        )
        raise Unusable(
            f"has the colour mode {image.mode}; expected grey or RGB with 8 bits a channel: {cure}"
        )
    width, height = image.size
    across = orientation > 4 and image.format != "TIFF"  # of a TIFF, Pillow tells the turned size
    return (*((width, height) if across else (height, width)), CHANNELS[image.mode])


def _bits(image: "Image", file: IO[bytes]) -> int:
    """Bits a channel in the file; Pillow halves sixteen without a word where there are colours."""
    if image.format == "PNG":
        place = file.tell()
        file.seek(24)
        (bits,) = file.read(1)
        file.seek(place)
        return bits
    if image.format == "TIFF":
        tags: Any = vars(image)["tag_v2"]  # images of this format alone have it
        if set(tags.get(339, (1,))) != {1} and image.mode in CHANNELS:
            raise Unusable("has numbers with a sign; expected 0 to 255: scale its values")
        return int(max(tags.get(258, (1,))))
    if image.format == "PPM":
        return 16 if _highest(vars(image)["tile"]) > 255 else 8
    return 8


def _altered(image: "Image") -> str:
    """What Pillow does to an image of 8 bits a channel without a word, and the cure; '' where it
    gives the pixels of the file. The fourth byte of a BMP with 32 bits is padding by its format."""
    tiles = vars(image).get("tile") or []
    if image.format == "TIFF":
        tags: Any = vars(image)["tag_v2"]  # images of this format alone have it
        bands = len(image.getbands())
        if (stored := tags.get(277, bands)) > bands:
            return (
                f"has {stored} channels, of which {bands} are read ({image.mode}); expected no "
                "others, such as near infrared: save it without them"
            )
        if tags.get(262) == 6 and tags.get(259, 1) == 1:  # of which Pillow reads 4 bytes a pixel
            return "has the colour mode YCbCr, uncompressed; expected grey or RGB: convert it"
    if image.format == "PPM" and (white := _highest(tiles)) != 255:
        return f"has {white} for white; expected 255: scale its values to 0 to 255"
    if image.format == "BMP" and tiles[0][3][0] in ("BGR;15", "BGR;16"):
        return "has 16 bits a pixel, whose values have no one meaning in 8 bits; expected 24 or 32"
    return ""


def _highest(tiles: Any) -> int:
    """The value of white in a PPM."""
    for decoder, *_, arguments in tiles:
        if decoder.startswith("ppm") and isinstance(arguments, tuple):
            return int(arguments[-1])
    return 255


def _orientation(image: "Image") -> int:
    """1 to 8, by EXIF; a PNG is not decoded for it."""
    from PIL import Image

    found = Image.Image.getexif(image).get(ORIENTATION, 1)
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _is_transparent(image: "Image") -> bool:
    return bool(np.asarray(image.convert("RGBA").getchannel("A")).min() < 255)


def _pixels(image: "Image", channels: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    from PIL import ImageOps

    try:
        upright = ImageOps.exif_transpose(image)
        if upright.mode in ("P", "PA"):
            upright = upright.convert("RGBA")
        pixels = np.asarray(upright.convert("L" if channels == 1 else "RGB"))
    except Exception as error:
        raise _NoImage(_reason(error)) from error
    return pixels.reshape(*pixels.shape[:2], channels)


def _too_large(size: str) -> str:
    return f"claims to have {size} pixels; expected at most {MAX_PIXELS:,}: make it smaller"


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if text.startswith("cannot identify image file"):  # and then an object of Python's
        return "its content is that of no known format"
    return text[:120] or type(error).__name__
