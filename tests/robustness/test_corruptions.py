"""The fifteen corruptions: properties that all share, then each against a closed form or another
way to compute it."""

import colorsys

import numpy as np
import pytest
from scipy import ndimage

from foundation.errors import ConfigError
from foundation.seeds import image_seeds
from robustness.corruptions import (
    Corruption,
    _clouds,
    _finer,
    _glass_blur,
    _motion_blur,
    _zigzag,
    corrupt,
)

EVERY_FAMILY = pytest.mark.parametrize("name", list(Corruption))
DETERMINISTIC = {Corruption.SCALE, Corruption.BRIGHTNESS, Corruption.STRIPE, Corruption.CANNY_EDGES}
SHAPES = [(28, 28, 1), (32, 32, 3), (11, 19, 2)]
HALF_BYTE = 0.5 / 255 + 1e-6
"""The largest rounding error of one value."""


def seeds(n: int, seed: int = 0) -> np.ndarray:
    return image_seeds([b"%d" % i for i in range(n)], seed)


def blobs(n: int, shape: tuple[int, int, int] = (28, 28, 1)) -> np.ndarray:
    """Bright ellipses with soft edges on black, in another place and colour in each image."""
    rng = np.random.default_rng(11)
    h, w, c = shape
    rows, columns = np.mgrid[:h, :w][..., None, None]
    r, q = rng.uniform(0.4, 0.6, (2, n)) * [[h], [w]]
    distance = np.hypot((rows - r) / (0.3 * h), (columns - q) / (0.2 * w))
    shade = np.clip(3 * (1 - distance), 0, 1).transpose(3, 0, 1, 2)
    return np.round(shade * rng.uniform(0.6, 1, (n, 1, 1, c)) * 255).astype(
        np.float32
    ) / np.float32(255)


def same(shape: tuple[int, int, int, int], value: float) -> np.ndarray:
    return np.full(shape, value, np.float32)


class Chosen(np.random.Generator):
    """A generator that gives what the test chose, whatever the family asks for."""

    def __init__(self, *values: object) -> None:
        super().__init__(np.random.PCG64())
        self.values = iter(values)

    def draw(self, *_: object, **__: object) -> object:
        return next(self.values)

    integers = uniform = draw


# All families


@EVERY_FAMILY
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_result_is_an_8_bit_image_of_the_same_shape(
    name: Corruption, shape: tuple[int, int, int]
) -> None:
    x = blobs(6, shape)
    kept = x.copy()
    y = corrupt(name, x, seeds(6))
    assert y.dtype == np.float32
    assert y.shape == x.shape
    assert np.array_equal(
        y, np.round(y * 255).astype(np.uint8).astype(np.float32) / np.float32(255)
    )
    assert np.array_equal(x, kept), "the input was written to"


@EVERY_FAMILY
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_image_changes(name: Corruption, shape: tuple[int, int, int]) -> None:
    x = blobs(6, shape)
    assert np.abs(corrupt(name, x, seeds(6)) - x).max(axis=(1, 2, 3)).min() > 0.1


@EVERY_FAMILY
def test_an_image_depends_on_its_seed_and_not_on_its_batch(name: Corruption) -> None:
    x, s = blobs(40), seeds(40)
    y = corrupt(name, x, s)
    assert np.array_equal(corrupt(name, x, s), y)
    some = [37, 5, 0, 33]
    assert np.array_equal(corrupt(name, x[some], s[some]), y[some])


@EVERY_FAMILY
def test_other_seeds_differ_where_the_family_is_random(name: Corruption) -> None:
    x = np.repeat(blobs(1), 40, axis=0)
    y, other = corrupt(name, x, seeds(40, 0)), corrupt(name, x, seeds(40, -1))
    if name in DETERMINISTIC:
        assert np.array_equal(y, other)
        assert np.array_equal(y, np.repeat(y[:1], 40, axis=0))
    else:
        assert not np.array_equal(y, other)  # both words of the seed count
        assert not np.array_equal(y, np.repeat(y[:1], 40, axis=0))


@EVERY_FAMILY
def test_no_images(name: Corruption) -> None:
    assert corrupt(name, same((0, 28, 28, 1), 0), seeds(1)[:0]).shape == (0, 28, 28, 1)


def test_names_are_those_of_mnist_c() -> None:
    published = """shot_noise impulse_noise glass_blur motion_blur shear scale rotate brightness
        translate stripe fog spatter dotted_line zigzag canny_edges"""
    assert [str(name) for name in Corruption] == published.split()


@pytest.mark.parametrize(
    ("x", "s", "message"),
    [
        (
            same((2, 28, 28, 1), 0)[0],
            seeds(28),
            r"expected images \[n, h, w, c\].*got shape \[28, 28, 1\]",
        ),
        (same((2, 28, 10, 1), 0), seeds(2), r"h and w of 11 or more, got shape \[2, 28, 10, 1\]"),
        (same((2, 28, 28, 1), 255), seeds(2), r"expected values in \[0, 1\], got 255.0 to 255.0"),
        (same((2, 28, 28, 1), -0.5), seeds(2), r"expected values in \[0, 1\], got -0.5"),
        (same((2, 28, 28, 1), np.nan), seeds(2), r"expected values in \[0, 1\], got nan"),
        (same((2, 28, 28, 1), 0), seeds(3), r"expected seeds of shape \[2, 2\], got \[3, 2\]"),
        (same((2, 28, 28, 1), 0), seeds(2)[:, 0], r"expected seeds of shape \[2, 2\], got \[2\]"),
    ],
    ids=["rank", "size", "bytes", "negative", "nan", "more-seeds", "flat-seeds"],
)
@pytest.mark.usefixtures("unchecked_types")
def test_what_does_not_fit_is_refused(x: np.ndarray, s: np.ndarray, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        corrupt(Corruption.ROTATE, x, s)


# Noise


def test_shot_noise_counts_photons() -> None:
    white = corrupt(Corruption.SHOT_NOISE, same((50, 28, 28, 1), 1), seeds(50))
    probabilities = np.exp(-3) * np.array([1, 3, 4.5])  # none, one, two of three
    for photons, probability in enumerate(probabilities):
        assert np.mean(np.abs(white - photons / 3) < HALF_BYTE) == pytest.approx(
            probability, abs=0.01
        )
    assert np.mean(white == 1) == pytest.approx(1 - probabilities.sum(), abs=0.01)
    assert not corrupt(Corruption.SHOT_NOISE, same((2, 28, 28, 1), 0), seeds(2)).any()


def test_impulse_noise_replaces_17_percent() -> None:
    y = corrupt(Corruption.IMPULSE_NOISE, same((50, 28, 28, 1), 0.4), seeds(50))
    assert np.mean(y == 0) == pytest.approx(0.085, abs=0.005)
    assert np.mean(y == 1) == pytest.approx(0.085, abs=0.005)
    assert set(np.unique(np.round(y * 255))) == {0, 102, 255}


# Blur


def column_blur(image: np.ndarray) -> np.ndarray:
    """A Gaussian of sigma 0.7 down the columns, as a sum of shifted rows."""
    taps = np.exp(-(np.arange(-3, 4) ** 2) / (2 * 0.7**2))
    padded = np.pad(image, ((3, 3), (0, 0)), mode="edge")
    return sum(tap / taps.sum() * padded[i : i + len(image)] for i, tap in enumerate(taps))


def test_glass_blur_exchanges_neighbours_between_two_blurs() -> None:
    image = np.random.default_rng(0).random((12, 13)).astype(np.float32)
    draws = np.zeros((2, 10, 11), np.uint8)
    draws[0, 0, 0], draws[0, 3, 2], draws[1, 4, 4], draws[1, 9, 10] = 7, 5, 6, 4
    expected = column_blur(image)
    for one, other in [
        ((11, 12), (10, 11)),
        ((8, 10), (8, 9)),
        ((7, 8), (6, 8)),
    ]:  # the fourth stays in place
        expected[one], expected[other] = expected[other], expected[one]
    y = _glass_blur(image[None, ..., None], [Chosen(draws)])
    np.testing.assert_allclose(y[0, ..., 0], column_blur(expected), atol=1e-6)


@pytest.mark.parametrize(("angle", "down"), [(0, 0), (45, 1), (-45, -1)])
def test_motion_blur_smears_a_point_along_half_a_gaussian(angle: float, down: int) -> None:
    x = same((1, 48, 48, 1), 0)
    x[0, 24, 24] = 1
    weights = np.exp(-(np.arange(21) ** 2) / 18)
    expected = np.zeros((48, 48))
    for i, weight in enumerate(weights / weights.sum()):
        step = int(np.ceil(i * np.cos(np.deg2rad(angle)) - 0.5))
        expected[24 - down * step, 24 - step] += weight
    np.testing.assert_allclose(_motion_blur(x, [Chosen(angle)])[0, ..., 0], expected, atol=1e-6)


def test_motion_blur_repeats_the_border_and_turns_both_ways() -> None:
    assert np.all(corrupt(Corruption.MOTION_BLUR, same((2, 28, 28, 1), 1), seeds(2)) == 1)
    x = same((20, 48, 48, 1), 0)
    x[:, 24, 24] = 1
    y = corrupt(Corruption.MOTION_BLUR, x, seeds(20))
    above, below = y[:, :24].sum(axis=(1, 2, 3)), y[:, 25:].sum(axis=(1, 2, 3))
    assert np.any(above > 3 * below)
    assert np.any(below > 3 * above)


# Geometry


def ramp(n: int, axis: int, size: int = 29) -> np.ndarray:
    """Images that brighten linearly along the rows' (0) or columns' (1) number."""
    line = np.linspace(0, 1, size, dtype=np.float32)
    image = np.broadcast_to(line[:, None] if axis == 0 else line, (size, size))
    return np.repeat(image[None, ..., None], n, axis=0)


def directions(name: Corruption, n: int = 40) -> np.ndarray:
    """Which way each image turned: -1 or 1."""
    y = corrupt(name, ramp(n, axis=1), seeds(n))[..., 0]
    return np.sign(y[:, 20, 14] - y[:, 8, 14])


def test_rotate_by_the_published_angle() -> None:
    x = blobs(8)
    y = corrupt(Corruption.ROTATE, x, seeds(8))
    for image, rotated in zip(x[..., 0], y[..., 0], strict=True):
        both = [
            ndimage.rotate(image, sign * np.rad2deg(0.4), reshape=False, order=1)
            for sign in (1, -1)
        ]
        assert min(np.abs(rotated - reference).max() for reference in both) < HALF_BYTE


def test_shear_of_ramps() -> None:
    away = np.arange(-14, 15)
    inside = slice(9, 20)
    rows = 0.5 + np.cos(0.4) * away / 28
    y = corrupt(Corruption.SHEAR, ramp(1, axis=0), seeds(1))[0, ..., 0]
    np.testing.assert_allclose(
        y[inside, inside], np.tile(rows[inside, None], (1, 11)), atol=HALF_BYTE
    )
    y = corrupt(Corruption.SHEAR, ramp(1, axis=1), seeds(1))[0, ..., 0]
    columns = 0.5 + (away + directions(Corruption.SHEAR, 1)[0] * np.sin(0.4) * away[:, None]) / 28
    np.testing.assert_allclose(y[inside, inside], columns[inside, inside], atol=HALF_BYTE)


@pytest.mark.parametrize("name", [Corruption.SHEAR, Corruption.ROTATE])
def test_both_directions_are_drawn(name: Corruption) -> None:
    assert 10 < np.sum(directions(name) > 0) < 30


def test_families_draw_independently() -> None:
    assert 5 < np.sum(directions(Corruption.SHEAR) == directions(Corruption.ROTATE)) < 35


@pytest.mark.parametrize("axis", [0, 1])
def test_scale_of_a_ramp(axis: int) -> None:
    y = np.moveaxis(corrupt(Corruption.SCALE, ramp(1, axis), seeds(1))[0, ..., 0], axis, 0)
    seen = 14 + np.arange(-14, 15) / 0.7
    expected = np.interp(seen, np.arange(-1, 30), [0, *np.linspace(0, 1, 29), 0])
    np.testing.assert_allclose(y[:, 14], expected, atol=HALF_BYTE)
    assert not y[:, :4].any(), "what lies outside is black"


def test_translate_moves_a_point_by_three_each_way() -> None:
    x = same((60, 28, 28, 1), 0)
    x[:, 12, 14] = 1
    y = corrupt(Corruption.TRANSLATE, x, seeds(60))[..., 0]
    assert np.all(y.sum(axis=(1, 2)) == 1)
    assert {(r, c) for _, r, c in np.argwhere(y == 1).tolist()} == {
        (9, 11),
        (9, 17),
        (15, 11),
        (15, 17),
    }


# Light and weather


def test_brightness_of_grey_images() -> None:
    x = blobs(4)
    np.testing.assert_allclose(
        corrupt(Corruption.BRIGHTNESS, x, seeds(4)), np.minimum(x + 0.5, 1), atol=HALF_BYTE
    )


def test_brightness_of_colours_keeps_hue_and_saturation() -> None:
    x = np.random.default_rng(0).random((1, 11, 11, 3)).astype(np.float32)
    x[0, 0, 0] = 0
    y = corrupt(Corruption.BRIGHTNESS, x, seeds(1))
    for before, after in zip(x.reshape(-1, 3).tolist(), y.reshape(-1, 3), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*before)
        np.testing.assert_allclose(
            after, colorsys.hsv_to_rgb(hue, saturation, min(value + 0.5, 1)), atol=HALF_BYTE
        )


@pytest.mark.parametrize(("width", "quarter"), [(28, 7), (32, 8), (30, 7)])
def test_stripe_inverts_the_outer_quarters(width: int, quarter: int) -> None:
    x = blobs(2, (28, width, 1))
    outer = (np.arange(width) < quarter) | (np.arange(width) >= width - quarter)
    expected = np.where(outer[:, None], 1 - x, x)
    np.testing.assert_allclose(corrupt(Corruption.STRIPE, x, seeds(2)), expected, atol=HALF_BYTE)


def test_fog_adds_three_clouds_and_presses_the_contrast() -> None:
    def clouds(x: np.ndarray) -> np.ndarray:
        brightest = x.max(axis=(1, 2, 3), keepdims=True)
        return (corrupt(Corruption.FOG, x, seeds(len(x))) * (brightest + 3) / brightest - x) / 3

    shape = (100, 28, 28, 3)
    on_white, on_grey = clouds(same(shape, 1)), clouds(same(shape, 0.5))
    np.testing.assert_allclose(on_white, on_grey, atol=0.01)
    np.testing.assert_allclose(on_white, np.broadcast_to(on_white[..., :1], shape), atol=0.01)
    assert on_white.min() > -0.01
    assert on_white.max() < 1.01
    # of the released code, over 1500 maps: mean 0.504, deviation of the means 0.189 and within an
    # image 0.059
    assert on_white.mean() == pytest.approx(0.504, abs=0.06)
    assert on_white.mean(axis=(1, 2, 3)).std() == pytest.approx(0.189, abs=0.05)
    assert on_white[..., 0].std(axis=(1, 2)).mean() == pytest.approx(0.059, abs=0.01)


def test_fog_shows_the_corner_of_a_map_of_256() -> None:
    generator, coarse = np.random.default_rng(3), np.zeros((1, 1, 1), np.float32)
    for level in range(7):
        coarse = _finer(coarse, 1.96**-level, [generator])
    coarse = (coarse - coarse.min()) / (coarse.max() - coarse.min())
    y = _clouds([np.random.default_rng(3)], 28, 30)
    np.testing.assert_allclose(y[:, ::2, ::2], coarse[:, :14, :15], atol=1e-5)


def test_fog_at_the_size_of_its_map() -> None:
    y = corrupt(Corruption.FOG, same((1, 256, 253, 1), 1), seeds(1))
    assert y.shape == (1, 256, 253, 1)
    assert np.abs(np.diff(y, axis=1)).max() < 0.1, "clouds have no seams"


def test_one_level_of_diamond_square() -> None:
    grid = np.random.default_rng(0).random((1, 4, 3)).astype(np.float32)
    noise = 0.3 * (np.random.default_rng(5).random((3, 4, 3), np.float32) - 0.5)
    finer = _finer(grid, 0.3, [np.random.default_rng(5)])[0]
    np.testing.assert_array_equal(finer[::2, ::2], grid[0])
    for r, c in np.ndindex(4, 3):

        def at(row: int, column: int) -> float:
            return finer[row % 8, column % 6]  # a torus

        i, j = 2 * r, 2 * c
        square = at(i, j) + at(i + 2, j) + at(i, j + 2) + at(i + 2, j + 2)
        above = at(i, j) + at(i, j + 2) + at(i - 1, j + 1) + at(i + 1, j + 1)
        left = at(i, j) + at(i + 2, j) + at(i + 1, j - 1) + at(i + 1, j + 1)
        expected = np.array([square, above, left]) / 4 + noise[:, r, c]
        np.testing.assert_allclose(
            [at(i + 1, j + 1), at(i, j + 1), at(i + 1, j)], expected, atol=1e-6
        )


def test_spatter_mixes_in_mud() -> None:
    shape = (200, 28, 28, 1)
    on_black, on_white = (
        corrupt(Corruption.SPATTER, same(shape, value), seeds(200)) for value in (0, 1)
    )
    cover = on_black * 255 / 63
    np.testing.assert_allclose(on_white, 1 - cover * (1 - 63 / 255), atol=0.01)
    assert not np.any((cover > 0.01) & (cover < 0.78)), "thin mud is dropped"
    assert cover.max() == 1
    assert np.mean(cover > 0) == pytest.approx(
        0.135, abs=0.01
    )  # of the released code, over 4000 images: 0.136


# Scribbles and edges


def test_dotted_line_is_straight_and_dotted() -> None:
    y = corrupt(Corruption.DOTTED_LINE, same((30, 28, 28, 1), 0), seeds(30))[..., 0]
    inked = np.arange(28) // 2 % 2 == 1
    inked[27] = False  # the line ends before its last column
    assert not y[:, :, ~inked].any()
    rows, columns = np.arange(28), np.flatnonzero(inked)
    lines = [
        stroke(rows, start + (end - start) * columns / 27) for start, end in np.ndindex(27, 27)
    ]
    for image in y:
        assert min(np.abs(line - image[:, inked]).max() for line in lines) < HALF_BYTE
    assert len(np.unique(y[:, :, 2].argmax(axis=1))) > 5, "lines start at many heights"


def stroke(rows: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """The published fall of ink with the distance from the middle of a stroke: [rows, columns]."""
    return np.clip(1 + np.log(1 - np.clip(np.abs(rows[:, None] - middle), 0, 2.29) / 2.3), 0, 1)


def test_zigzag_follows_a_triangle_wave() -> None:
    y = _zigzag(same((1, 28, 28, 1), 0), [Chosen(12, 0)])[0, ..., 0]
    columns = np.arange(2, 25)
    assert not y[:, :2].any()
    assert not y[:, 25:].any()
    wave = 12 + np.interp(columns, [2, *range(4, 25, 4), 25], [0, 2, -2, 2, -2, 2, -2, 0])
    assert np.all(y[wave.astype(int), columns] >= 1)
    assert not y[:9].any()
    assert not y[16:].any()


def test_zigzag_rises_with_its_line_and_keeps_the_image() -> None:
    x = blobs(1)
    flat, steep = (_zigzag(x, [Chosen(12, rise)])[0, ..., 0] - x[0, ..., 0] for rise in (0, 4))
    rows = np.arange(28)[:, None]
    middle = [
        np.average(np.repeat(rows, 3, 1), weights=ink[:, 22:25] + 1e-9) for ink in (flat, steep)
    ]
    assert middle[1] - middle[0] == pytest.approx(4 * 21 / 23, abs=0.7)
    assert flat.min() >= 0


def step_edge(*contrasts: float) -> np.ndarray:
    """One image of 28 rows, black on the left and of the contrasts, in equal bands of rows, on the
    right."""
    across = np.clip((np.arange(28) - 9) / 2, 0, 1)
    return (np.repeat(contrasts, 28 // len(contrasts))[:, None] * across)[None, ..., None].astype(
        np.float32
    )


@pytest.mark.parametrize(
    ("contrasts", "rows"),
    [
        ([1.0], range(1, 27)),
        (
            [0.1],
            range(1, 27),
        ),  # the Sobel magnitude at the step is 2.56 times the contrast: above 0.2
        ([0.06], []),  # above 0.1, but with nothing strong to join
        ([0.06, 0.1], range(1, 27)),  # joined
        (
            np.linspace(0.02, 0.128, 28),
            range(5, 27),
        ),  # joined down to 0.1, reached between 0.036 and 0.04
    ],
    ids=["white", "strong", "weak", "joined", "growing"],
)
def test_canny_finds_a_step(contrasts: list[float], rows: range) -> None:
    y = corrupt(Corruption.CANNY_EDGES, step_edge(*contrasts), seeds(1))[0, ..., 0]
    expected = np.zeros((28, 28))
    expected[list(rows), 10] = 1
    np.testing.assert_array_equal(y, expected)


def test_canny_joins_edges_within_an_image_only() -> None:
    y = corrupt(
        Corruption.CANNY_EDGES,
        np.concatenate([step_edge(1.0), step_edge(0.06), step_edge(1.0)]),
        seeds(3),
    )
    assert y[0].any()
    assert not y[1].any()


def test_canny_sees_the_mean_of_the_channels() -> None:
    x = np.concatenate([np.zeros((1, 28, 28, 2), np.float32), step_edge(0.3)], axis=-1)
    y = corrupt(Corruption.CANNY_EDGES, x, seeds(1))
    np.testing.assert_array_equal(
        y, np.repeat(corrupt(Corruption.CANNY_EDGES, step_edge(0.1), seeds(1)), 3, axis=-1)
    )


def test_canny_keeps_the_ridges_of_the_gradient() -> None:
    x = blobs(4)
    y = corrupt(Corruption.CANNY_EDGES, x, seeds(4))[..., 0]
    for image, edges in zip(x[..., 0].astype(np.float64), y, strict=True):
        smooth = ndimage.gaussian_filter(image, 1)  # the blobs keep away from the border
        gradient = np.stack([ndimage.sobel(smooth, axis=0), ndimage.sobel(smooth, axis=1)], axis=-1)
        magnitude = np.hypot(*gradient.transpose(2, 0, 1))
        ridge = np.zeros((28, 28), bool)
        for place in np.argwhere(magnitude >= 0.1):
            g, here = gradient[tuple(place)], magnitude[tuple(place)]
            share = np.abs(g).min() / np.abs(g).max()
            straight = np.where(np.abs(g) == np.abs(g).max(), np.sign(g), 0).astype(int)
            diagonal = np.sign(g).astype(int)
            ridge[tuple(place)] = all(
                share * magnitude[tuple(place + side * diagonal)]
                + (1 - share) * magnitude[tuple(place + side * straight)]
                <= here
                for side in (1, -1)
            )
        strong = ridge & (magnitude >= 0.2)
        np.testing.assert_array_equal(
            edges, ndimage.binary_propagation(strong, np.ones((3, 3)), ridge)
        )


def test_canny_treats_all_orientations_alike() -> None:
    x = blobs(10)
    y = corrupt(Corruption.CANNY_EDGES, x, seeds(10))
    for turn in range(1, 4):
        turned = corrupt(
            Corruption.CANNY_EDGES, np.ascontiguousarray(np.rot90(x, turn, axes=(1, 2))), seeds(10)
        )
        np.testing.assert_array_equal(turned, np.rot90(y, turn, axes=(1, 2)))
