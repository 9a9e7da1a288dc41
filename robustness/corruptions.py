"""Corruptions that nobody aims: the fifteen families of MNIST-C, drawn on the spot for any images.

The attacks ask how a model fails against an adversary; corruptions ask how it fails in ordinary bad
luck (noise, blur, a tilted scan, scribbles). They take pixels and seeds and give pixels; they must
not know of models, labels, data sets, files or pipelines.

Definitions and parameters are those of Mu & Gilmer, "MNIST-C: A Robustness Benchmark for Computer
Vision" (2019, arXiv:1906.02337), at the severities to which the functions of the released code
(github.com/google-research/mnist-c, corruptions.py) default. That code uses the scikit-image of
2019 (0.15), ImageMagick and OpenCV; this one uses NumPy and SciPy. Two effects of the old
scikit-image are part of the published images and are kept: glass blur smooths down the columns
only, and shear also stretches. Where a family departs from the released code, its function says so.
Two departures are common to all: the random streams are ours, so that images agree with the
published ones in distribution, not pixel by pixel; and lengths given in pixels (blurs, shifts,
dots, teeth) are the same at every image size, while those that follow the frame (centre, stripes,
line ends) move with it.

Fifteen small families that share few tools stand here one below the other: hence the length of the
file.
"""

import zlib
from collections.abc import Callable
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Float32, Int64, Real
from scipy import ndimage

from foundation.errors import ConfigError
from foundation.seeds import Seeds
from robustness.types import FloatArray, Images, IntArray

Pixels = Float[npt.NDArray[np.floating], "n h w c"]
"""Images before they are cut to [0, 1] and rounded."""

Grey = Float32[FloatArray, "n h w"]
Ink = Float32[FloatArray, "n h w 1"]
Signs = Int64[IntArray, "n count"]
Points = Real[npt.NDArray[np.floating], "n 2"]
Matrices = Float[npt.NDArray[np.floating], "n 2 2"]

Generators = list[np.random.Generator]

SMALLEST = 11
"""Least height and width of an image: on a narrower one the zigzag would turn back."""

FOG_MAP = 256
"""Side of the height map of which fog shows the corner, a power of two; larger images double it."""

FOG_CHUNK = 32
"""Images whose height maps are grown together: few enough for the processor's cache."""


class Corruption(StrEnum):
    """The families, with the severity (1 to 5) of those that have one."""

    SHOT_NOISE = "shot_noise"  # 5
    IMPULSE_NOISE = "impulse_noise"  # 4
    GLASS_BLUR = "glass_blur"  # 1
    MOTION_BLUR = "motion_blur"  # 1
    SHEAR = "shear"  # 2
    SCALE = "scale"  # 3
    ROTATE = "rotate"  # 2
    BRIGHTNESS = "brightness"  # 5
    TRANSLATE = "translate"  # 3
    STRIPE = "stripe"
    FOG = "fog"  # 5
    SPATTER = "spatter"  # 4
    DOTTED_LINE = "dotted_line"
    ZIGZAG = "zigzag"
    CANNY_EDGES = "canny_edges"


def corrupt(name: Corruption, x: Images, seeds: Seeds) -> Images:
    """Each image under one corruption; what becomes of it depends on the image, its seed and the
    family alone.

    Args:
        name: the family.
        x: images in [0, 1], at least SMALLEST high and wide.
        seeds: what is random about each image. Families draw from the same seed independently of
            each other.

    Returns:
        images in [0, 1], each value rounded to a multiple of 1/255, as MNIST-C is stored.

    Raises:
        ConfigError: x has another rank, is too small or leaves [0, 1], or seeds do not fit it.
    """
    _check(x, seeds)
    if not len(x):
        return x
    key = np.full((len(x), 1), zlib.crc32(name.encode()), np.uint32)
    entropy = np.hstack([np.ascontiguousarray(seeds, np.int64).view(np.uint32), key])
    corrupted = _FAMILIES[name](x, [np.random.default_rng(words) for words in entropy])
    return np.rint(np.clip(corrupted, 0, 1) * 255).astype(np.float32) / np.float32(255)


def _check(x: Images, seeds: Seeds) -> None:
    if x.ndim != 4 or min(x.shape[1:3]) < SMALLEST:
        expected = f"images [n, h, w, c] with h and w of {SMALLEST} or more"
        raise ConfigError(f"corruptions: expected {expected}, got shape {list(x.shape)}.")
    if not np.all((x >= 0) & (x <= 1)):  # NaN fails as well
        got = f"got {x.min()} to {x.max()}"
        raise ConfigError(f"corruptions: expected values in [0, 1], {got}; divide bytes by 255.")
    if seeds.shape != (len(x), 2):
        expected = f"seeds of shape [{len(x)}, 2]"
        raise ConfigError(f"corruptions: expected {expected}, got {list(seeds.shape)}.")


# Noise


def _shot_noise(x: Images, generators: Generators) -> Pixels:
    """Photons counted, three on average where the image is white."""
    return np.stack([g.poisson(3 * image) for image, g in zip(x, generators, strict=True)]) / 3


def _impulse_noise(x: Images, generators: Generators) -> Pixels:
    """17 % of the values replaced, half by white and half by black."""
    u = np.stack([g.random(x.shape[1:], np.float32) for g in generators])
    return np.where(u < 0.17, u < 0.085, x)


# Blur


def _glass_blur(x: Images, generators: Generators) -> Pixels:
    """Pixels change places with a neighbour above or to the left, one after the other, between two
    Gaussian blurs.

    Sigma 0.7, distance 1, two passes from the lower right corner; each pixel is moved with
    probability 1/2, then to one of four places of which one is its own. The blurs run down the
    columns only: scikit-image takes the last axis of a grey image for its channels. Ours do so for
    colour images as well, and are not cut to 8 bits in between.
    """
    n, h, w, c = x.shape
    steps = np.asarray([0, 0, 0, 0, 0, 1, w, w + 1])
    places = (2, h - 2, w - 2)
    draws = np.stack([g.integers(8, size=places, dtype=np.uint8) for g in generators], axis=-1)
    blurred = ndimage.gaussian_filter1d(x, 0.7, axis=1, mode="nearest")
    pixels = blurred.transpose(1, 2, 0, 3).reshape(h * w, n, c)
    every = np.arange(n)
    for sweep in draws:
        for i, j in np.ndindex(h - 2, w - 2):
            here = (h - 1 - i) * w + (w - 1 - j)
            there = here - steps[sweep[i, j]]
            moved = pixels[here].copy()
            pixels[here] = pixels[there, every]
            pixels[there, every] = moved
    shuffled = pixels.reshape(h, w, n, c).transpose(2, 0, 1, 3)
    result: Pixels = ndimage.gaussian_filter1d(shuffled, 0.7, axis=1, mode="nearest")
    return result


def _motion_blur(x: Images, generators: Generators) -> Pixels:
    """A one-sided trail up to 45 degrees off the horizontal, fading as half a Gaussian (radius 10,
    sigma 3).

    The trail steps over whole pixels and repeats the border, as ImageMagick's MotionBlurImage does.
    """
    h, w = x.shape[1:3]
    steps = np.arange(21)
    weights = np.exp(-(steps**2) / (2 * 3**2))
    weights = (weights / weights.sum()).astype(np.float32)
    blurred = np.empty_like(x)
    for image, out, g in zip(x, blurred, generators, strict=True):
        angle = np.deg2rad(g.uniform(-45, 45))
        rows = np.arange(h) + np.ceil(steps * np.sin(angle) - 0.5).astype(int)[:, None]
        columns = np.arange(w) + np.ceil(steps * np.cos(angle) - 0.5).astype(int)[:, None]
        trail = image[np.clip(rows, 0, h - 1)[:, :, None], np.clip(columns, 0, w - 1)[:, None, :]]
        out[:] = np.tensordot(weights, trail, axes=1)
    return blurred


# Geometry


def _signs(generators: Generators, count: int) -> Signs:
    """-1 or 1 with equal chance."""
    return np.stack([2 * g.integers(2, size=count) - 1 for g in generators])


def _warp(x: Images, matrices: Matrices, shifts: Points | float = 0.0) -> Pixels:
    """The images seen through affine maps, interpolated bilinearly, black outside.

    Args:
        x: the images.
        matrices: what takes (row, column) relative to the centre of the result to those of x.
        shifts: pixels added afterwards.
    """
    centre = (np.asarray(x.shape[1:3]) - 1) / 2
    offsets = centre - matrices @ centre + shifts
    warped = np.empty_like(x)
    for image, out, matrix, offset in zip(x, warped, matrices, offsets, strict=True):
        for c in range(x.shape[3]):
            out[..., c] = ndimage.affine_transform(
                image[..., c], matrix, offset, order=1, mode="grid-constant"
            )
    return warped


def _shear(x: Images, generators: Generators) -> Pixels:
    """0.4 rad to the left or right; upright lines also grow by 1 / cos 0.4, as in the scikit-image
    of the time."""
    cos, sin = np.cos(0.4), np.sin(0.4)
    return _warp(x, np.asarray([[[cos, 0], [-sign * sin, 1]] for (sign,) in _signs(generators, 1)]))


def _scale(x: Images, generators: Generators) -> Pixels:
    """Shrunk to 0.7 about the centre."""
    return _warp(x, np.eye(2) / 0.7 * np.ones((len(x), 1, 1)))


def _rotate(x: Images, generators: Generators) -> Pixels:
    """0.4 rad (23 degrees) either way about the centre."""
    cos, sin = np.cos(0.4), np.sin(0.4)
    signs = _signs(generators, 1)
    return _warp(x, np.asarray([[[cos, s * sin], [-s * sin, cos]] for (s,) in signs]))


def _translate(x: Images, generators: Generators) -> Pixels:
    """3 pixels up or down and 3 to the left or right."""
    return _warp(x, np.eye(2) * np.ones((len(x), 1, 1)), 3.0 * _signs(generators, 2))


# Light and weather


def _brightness(x: Images, generators: Generators) -> Pixels:
    """0.5 more of the value of HSV, at most 1; hue and saturation stay, and black becomes grey."""
    value: FloatArray = x.max(axis=3, keepdims=True)
    colour: FloatArray = np.divide(x, value, out=np.ones_like(x), where=value > 0)
    brighter: FloatArray = np.minimum(value + 0.5, 1)
    return colour * brighter


def _stripe(x: Images, generators: Generators) -> Pixels:
    """The left and right quarters of the columns inverted."""
    quarter = x.shape[2] // 4
    striped = x.copy()
    striped[:, :, :quarter] = 1 - x[:, :, :quarter]
    striped[:, :, -quarter:] = 1 - x[:, :, -quarter:]
    return striped


def _fog(x: Images, generators: Generators) -> Pixels:
    """Three times a cloud added, then the contrast pressed so that the brightest value could not
    grow."""
    h, w = x.shape[1:3]
    chunks = [generators[i : i + FOG_CHUNK] for i in range(0, len(x), FOG_CHUNK)]
    clouds: FloatArray = np.concatenate([_clouds(chunk, h, w) for chunk in chunks])[..., None]
    brightest: FloatArray = x.max(axis=(1, 2, 3), keepdims=True)
    return (x + 3 * clouds) * brightest / (brightest + 3)


def _clouds(generators: Generators, h: int, w: int) -> Grey:
    """Corners of height maps by the diamond-square algorithm on a torus.

    A map of side 256, or the next power of two that holds the image and a margin, is stretched over
    [0, 1]. The noise of each level is 1.4 ** 2 times weaker than that of the level before. The
    finest level is drawn in the corner alone, which saves three quarters of the time; the lowest
    and highest points are those of the coarser levels.
    """
    grid, strength = np.zeros((len(generators), 1, 1), np.float32), 1.0
    while 2 * grid.shape[1] < max(FOG_MAP, h + 6, w + 6):
        grid, strength = _finer(grid, strength, generators), strength / 1.4**2
    low: FloatArray = grid.min(axis=(1, 2), keepdims=True)
    high: FloatArray = grid.max(axis=(1, 2), keepdims=True)
    # With the neighbours across the border.
    corner = np.roll(grid, (1, 1), axis=(1, 2))[:, : h // 2 + 3, : w // 2 + 3]
    finest = _finer(corner, strength, generators)[:, 2 : h + 2, 2 : w + 2]
    return np.clip((finest - low) / (high - low), 0, 1)


def _finer(grid: Grey, strength: float, generators: Generators) -> FloatArray:
    """One level of the algorithm, to [n, 2 h, 2 w]: squares, then diamonds, with uniform noise."""
    n, h, w = grid.shape
    noise = np.stack([g.random((3, h, w), np.float32) for g in generators], axis=1)
    noise -= np.float32(0.5)
    noise *= np.float32(strength)
    right, below = grid + np.roll(grid, -1, axis=2), grid + np.roll(grid, -1, axis=1)
    centres = (right + np.roll(right, -1, axis=1)) / 4 + noise[0]
    finer = np.empty((n, 2 * h, 2 * w), np.float32)
    finer[:, ::2, ::2] = grid
    finer[:, 1::2, 1::2] = centres
    finer[:, ::2, 1::2] = (right + centres + np.roll(centres, 1, axis=1)) / 4 + noise[1]
    finer[:, 1::2, ::2] = (below + centres + np.roll(centres, 1, axis=2)) / 4 + noise[2]
    return finer


def _spatter(x: Images, generators: Generators) -> Pixels:
    """Spots of grey mud (63/255) where smoothed noise is high, the same in all channels.

    Noise of mean 0.65 and deviation 0.3, smoothed with sigma 1, cut at 0.65; the spots smoothed
    with sigma 1.5 and kept where they cover 0.8 or more.
    """
    noise = np.stack([g.normal(0.65, 0.3, x.shape[1:3]) for g in generators])
    wet = ndimage.gaussian_filter(noise, (0, 1, 1), mode="nearest") > 0.65
    spots = ndimage.gaussian_filter(wet.astype(np.float32), (0, 1.5, 1.5), mode="nearest")
    cover: FloatArray = np.where(spots < 0.8, np.float32(0), spots)[..., None]
    return x * (1 - cover) + 63 / 255 * cover


# Scribbles and edges


def _line(shape: tuple[int, ...], start: Points, end: Points) -> Ink:
    """One straight stroke an image, in [0, 1].

    Ink falls off with the vertical distance d as 1 + log(1 - d / 2.3). It begins in the column that
    holds the start, and stops before the first one at or after the end.

    Args:
        shape: n, h, w and c of the images.
        start: column and row of each stroke.
        end: its column and row, not to the left of the start; a stroke without length has no ink.
    """
    rows, columns = np.arange(shape[1]), np.arange(shape[2])
    (c0, r0), (c1, r1) = start.T[..., None], end.T[..., None]
    slope = (r1 - r0) / np.where(c1 > c0, c1 - c0, 1)
    middle = r0 + slope * (columns - c0)
    distance = np.abs(rows[:, None] - middle[:, None, :]).astype(np.float32)
    fading = 1 + np.log1p(-np.minimum(distance, 2) / np.float32(2.3))
    ink = np.maximum(fading, 0)  # none from a distance of 1.46 on
    inside = (columns >= np.floor(c0)) & (columns < np.ceil(c1)) & (c1 > c0)
    line: FloatArray = ink * inside[:, None, :]
    return line[..., None]


def _dotted_line(x: Images, generators: Generators) -> Pixels:
    """A line from the left to the right border at random heights, two columns off and two on."""
    n, h, w, _ = x.shape
    r0, r1 = np.stack([g.integers(h - 1, size=2) for g in generators], axis=1)
    start, end = (np.stack([np.full(n, column), r], axis=1) for column, r in ((0, r0), (w - 1, r1)))
    line = _line(x.shape, start, end)
    return x + line * (np.arange(w) // 2 % 2)[:, None]


def _zigzag(x: Images, generators: Generators) -> Pixels:
    """Teeth of width and height 2 along a line, two columns from each border, that ends 5 rows
    higher to 4 lower.

    The last, cut-off tooth ends on that line; that of the released code ends near it, or, at other
    image widths, far away from it.
    """
    w = x.shape[2]
    left, right = 2, w - 3
    r0 = np.stack([g.integers(x.shape[1] - 1) for g in generators])
    rise = np.stack([g.integers(-5, 5) for g in generators])
    length = np.hypot(right - left, rise)[:, None]
    tips = np.arange(2, length.max(), 4)  # those beyond the end of a shorter line fall onto it
    heights = np.where(tips < length, 2 * (-1) ** np.arange(len(tips)), 0)
    zero = np.zeros_like(length)
    along = np.hstack([zero, np.minimum(tips, length), length])
    height = np.hstack([zero, heights, zero])
    cosine, sine = (right - left) / length, rise[:, None] / length
    columns = left + cosine * along - sine * height
    corners = np.stack([columns, r0[:, None] + sine * along + cosine * height], axis=-1)
    drawn = x.copy()
    for i in range(corners.shape[1] - 1):
        drawn += _line(x.shape, corners[:, i], corners[:, i + 1])
    return drawn


def _canny_edges(x: Images, generators: Generators) -> Pixels:
    """White edges on black (Canny 1986): sigma 1, thresholds 0.1 and 0.2 of the Sobel magnitude.

    It agrees with the `canny` of scikit-image (0.26) on all pixels of MNIST's test images, and
    treats a batch at once: smoothing that makes up for the border, maxima along the gradient
    between neighbours interpolated bilinearly, no edges on the border itself. Channels are averaged
    first and get the same edges.
    """
    smooth = {"sigma": (0, 1, 1), "mode": "constant"}
    grey = ndimage.gaussian_filter(x.mean(axis=3, dtype=np.float64), **smooth)
    grey /= ndimage.gaussian_filter(np.ones((1, *grey.shape[1:])), **smooth)
    # Sobel's two. `ndimage.sobel` would also smooth over the batch, as over all other axes.
    down = ndimage.correlate1d(ndimage.correlate1d(grey, [-1, 0, 1], axis=1), [1, 2, 1], axis=2)
    across = ndimage.correlate1d(ndimage.correlate1d(grey, [-1, 0, 1], axis=2), [1, 2, 1], axis=1)
    magnitude = np.hypot(down, across)
    inner = np.zeros_like(magnitude, dtype=bool)
    inner[:, 1:-1, 1:-1] = True
    at = np.nonzero(inner & (magnitude >= 0.1))
    step = np.stack([np.zeros(len(at[0])), down[at], across[at]])
    step /= np.abs(step).max(axis=0)  # to the edge of the square of the eight neighbours
    beside = [ndimage.map_coordinates(magnitude, at + side, order=1) for side in (step, -step)]
    edge = np.zeros_like(inner)
    edge[at] = np.maximum(*beside) <= magnitude[at]
    touching = np.zeros((3, 3, 3), dtype=bool)
    touching[1] = True  # eight neighbours, all of the same image
    parts, count = ndimage.label(edge, touching)
    strong = np.zeros(count + 1, dtype=bool)
    strong[parts[edge & (magnitude >= 0.2)]] = True
    return np.broadcast_to(strong[parts][..., None], x.shape).astype(np.float32)


_FAMILIES: dict[Corruption, Callable[[Images, Generators], Pixels]] = {
    Corruption.SHOT_NOISE: _shot_noise,
    Corruption.IMPULSE_NOISE: _impulse_noise,
    Corruption.GLASS_BLUR: _glass_blur,
    Corruption.MOTION_BLUR: _motion_blur,
    Corruption.SHEAR: _shear,
    Corruption.SCALE: _scale,
    Corruption.ROTATE: _rotate,
    Corruption.BRIGHTNESS: _brightness,
    Corruption.TRANSLATE: _translate,
    Corruption.STRIPE: _stripe,
    Corruption.FOG: _fog,
    Corruption.SPATTER: _spatter,
    Corruption.DOTTED_LINE: _dotted_line,
    Corruption.ZIGZAG: _zigzag,
    Corruption.CANNY_EDGES: _canny_edges,
}
