"""Square (Andriushchenko et al. 2020): random search with square windows, without gradients.

Stands last in a suite, behind the gradient attacks: what it still breaks was hidden from them by a
model whose gradients mislead. Knows one model, of which it sees only logits, and one threat model.

Hyper-parameters are those of the standard suite of AutoAttack (Croce & Hein 2020): the margin as
loss, windows that cover 0.8 of the image at first, and a schedule stretched to the number of
queries. Deviations:

- Every image draws its own windows from its own seed, where the published code moves all images of
  a batch alike.
- Corners are uniform over all places where the window fits, as in the paper; the published code
  leaves out the last row and the last column of places, so its small windows never reach two edges
  of the image. On MNIST, whose edges are empty, this changes nothing for L-infinity and lets L2
  break 2 to 3 points fewer images.
- The tiles that start L2 are centred also in images that are not square or not about five tiles
  wide.
- An image is done when its class changes; the published code also gives up an image whose top
  logits tie.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from jaxtyping import Float32, Int32

from foundation.seeds import Seeds, restart_seeds
from robustness.ball import image_norm
from robustness.config import Norm, Square, ThreatModel
from robustness.inputs import image_spec
from robustness.losses import margin
from robustness.types import (
    BatchTensor,
    Flags,
    FlagsTensor,
    FloatArray,
    Images,
    ImagesTensor,
    Labels,
    LabelsTensor,
    Model,
    Numbers,
    NumbersTensor,
    SeedsTensor,
)

Pattern = Float32[FloatArray, "side side"]
PatternTensor = Float32[tf.Tensor, "side side"]
Draws = Float32[tf.Tensor, "n numbers"]
"""Numbers in [0, 1) for one query of each image."""

Corners = Float32[tf.Tensor, "n two"]
Window = Float32[tf.Tensor, "n side side c"]
Places = Int32[tf.Tensor, "n side side 3"]
Energy = Float32[tf.Tensor, "n 1 1 c"]

P_INIT = 0.8
"""Share of the image that the first windows cover."""

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""In a run of 10,000 queries, the last ones before that share is halved."""

QUERIES_BETWEEN_COMPACTIONS = 100
"""Misclassified images are dropped after so many queries, or where the window shrinks. Drawing
numbers costs 8 microseconds an image each time, about as much as one forward pass of a small
network."""

TINY = 1e-12


class Segment(NamedTuple):
    """Consecutive queries with windows of one size: the number of the first, how many, and the
    window's side."""

    first: int
    queries: int
    side: int


def window_share(query: int, queries: int) -> float:
    """The share p of the image that the window of a query covers; queries count from 0."""
    return P_INIT / 2.0 ** bisect_left(HALVINGS, query * 10_000 // queries)


def window_side(share: float, height: int, width: int, norm: Norm) -> int:
    """Side of the square that covers the share; L2 needs three pixels or more, and a middle."""
    side = round(math.sqrt(share * height * width))
    return min(max(side, 1) if norm is Norm.LINF else max(side, 3) | 1, height, width)


def schedule(queries: int, height: int, width: int, norm: Norm) -> Iterator[Segment]:
    """All queries in order, in segments that are short enough to drop finished images."""
    sides = [
        window_side(window_share(query, queries), height, width, norm) for query in range(queries)
    ]
    first = 0
    while first < queries:
        longest = sides[first : first + QUERIES_BETWEEN_COMPACTIONS]
        yield Segment(first, longest.count(sides[first]), sides[first])  # sides never grow
        first += longest.count(sides[first])


def two_pyramids(side: int) -> Pattern:
    """What L2 adds to a window: a positive pyramid above a negative one, of norm 1.

    The paper's eta; a side of 1 has room for one of the two.
    """
    upper, lower = _pyramid(side // 2, side), _pyramid(side - side // 2, side)
    both = np.concatenate([upper, -lower])
    return np.asarray(both / np.linalg.norm(both), np.float32)


def _pyramid(height: int, width: int) -> FloatArray:
    """Rectangular rings around the middle, of norm 1; each is 1 / k^2 below the next inner one, the
    k-th."""
    rows, columns = np.arange(height) - height // 2, np.arange(width) - width // 2
    ring = np.maximum(np.abs(rows)[:, None], np.abs(columns)[None, :])
    drops = 1.0 / np.arange(1, max(height, width) // 2 + 2) ** 2
    pyramid = np.cumsum(drops[::-1])[::-1][ring]
    return np.asarray(pyramid / max(float(np.linalg.norm(pyramid)), TINY), np.float32)


class CompiledSquare:
    """Square on one model, compiled once for all batch and image sizes."""

    def __init__(self, model: Model, threat: ThreatModel) -> None:
        self._model, self._threat = model, threat
        linf = threat.norm is Norm.LINF
        self._start = self._stripes if linf else self._tiles
        self._propose = self._recolour if linf else self._move_mass
        images = image_spec(model)
        labels, seeds = tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, 2], tf.int64)
        margins, pattern = (
            tf.TensorSpec([None], tf.float32),
            tf.TensorSpec([None, None], tf.float32),
        )
        count = tf.TensorSpec([], tf.int64)
        self._begin = tf.function(
            self._begin_batch, input_signature=[images, labels, seeds, pattern]
        )
        self._advance = tf.function(
            self._advance_batch,
            input_signature=[images, margins, images, labels, seeds, count, count, pattern],
        )

    def run(self, x: Images, y: Labels, seeds: Seeds, attack: Square) -> Images:
        """The attack; an image that is misclassified is done.

        Args:
            x: images in [0, 1].
            y: true labels.
            seeds: what windows are drawn from.
            attack: the effort.

        Returns:
            images inside the ball and [0, 1]: a misclassified point, otherwise the one with the
            highest margin of all that were tried.
        """
        best, best_margin = x.copy(), np.full(len(x), -np.inf, np.float32)
        rows = np.arange(len(x))
        for restart in range(attack.restarts):
            if not len(rows):
                break
            points, reached, wrong = self._search(
                x[rows], y[rows], restart_seeds(seeds[rows], restart), attack.queries
            )
            better = wrong | (reached > best_margin[rows])
            best[rows[better]], best_margin[rows[better]] = points[better], reached[better]
            rows = rows[~wrong]
        return best

    def _search(
        self, x: Images, y: Labels, seeds: Seeds, queries: int
    ) -> tuple[Images, Numbers, Flags]:
        """One restart: of each image the best point, its margin, and whether it is
        misclassified."""
        height, width = x.shape[1:3]
        tile = two_pyramids(max(min(height, width) // 5, 1))
        best, reached, wrong = (np.array(t) for t in self._begin(x, y, seeds, tile))
        for first, count, side in schedule(queries, height, width, self._threat.norm):
            rows = np.flatnonzero(~wrong)
            if not len(rows):
                break
            state = (best[rows], reached[rows], x[rows], y[rows], seeds[rows])
            advanced = self._advance(*state, first, count, two_pyramids(side))
            best[rows], reached[rows], wrong[rows] = map(np.asarray, advanced)
        return best, reached, wrong

    def _ask(self, x_adv: ImagesTensor, y: LabelsTensor) -> tuple[NumbersTensor, FlagsTensor]:
        """Margin of each point, and whether it is misclassified."""
        logits = self._model(x_adv, training=False)
        return margin(logits, y), tf.argmax(logits, axis=1) != y

    def _begin_batch(
        self, x: ImagesTensor, y: LabelsTensor, seeds: SeedsTensor, tile: PatternTensor
    ) -> tuple[ImagesTensor, NumbersTensor, FlagsTensor]:
        start = self._start(x, seeds, tile)
        return start, *self._ask(start, y)

    def _advance_batch(
        self,
        best: ImagesTensor,
        reached: NumbersTensor,
        x: ImagesTensor,
        y: LabelsTensor,
        seeds: SeedsTensor,
        first: tf.Tensor,
        queries: tf.Tensor,
        pattern: PatternTensor,
    ) -> tuple[ImagesTensor, NumbersTensor, FlagsTensor]:
        """Some queries with windows of the pattern's size; returns the best points, their margins,
        and whether they are misclassified."""
        numbers = tf.shape(x, tf.int64)[3] + 5  # two corners, a direction, a sign for each channel
        chunk_seeds = seeds + tf.stack([0, 1 + first])
        draws = tf.transpose(uniform(chunk_seeds, [queries, numbers]), [1, 0, 2])
        wrong = tf.zeros_like(y, tf.bool)
        for query in tf.range(queries):
            proposal = self._propose(best, x, draws[query], pattern)
            now, now_wrong = self._ask(proposal, y)
            better = ~wrong & (now_wrong | (now > reached))
            best = tf.where(better[:, None, None, None], proposal, best)
            reached = tf.where(better, now, reached)
            wrong |= now_wrong
        return best, reached, wrong

    def _stripes(self, x: ImagesTensor, seeds: SeedsTensor, tile: PatternTensor) -> ImagesTensor:
        """Start of L-infinity: columns of plus or minus epsilon, channel by channel."""
        signs = coin(uniform(seeds, tf.shape(x)[2:]))
        return tf.clip_by_value(x + self._threat.epsilon * signs[:, None], 0.0, 1.0)

    def _recolour(
        self, best: ImagesTensor, x: ImagesTensor, draws: Draws, pattern: PatternTensor
    ) -> ImagesTensor:
        """Proposal of L-infinity (the paper's algorithm 2): a window at plus or minus epsilon,
        channel by channel."""
        window = places(draws[:, :2], tf.shape(x), tf.shape(pattern)[0])
        change = self._threat.epsilon * coin(draws[:, None, None, 5:])
        colours = tf.clip_by_value(tf.gather_nd(x, window) + change, 0.0, 1.0)
        return tf.tensor_scatter_nd_update(best, window, colours)

    def _tiles(self, x: ImagesTensor, seeds: SeedsTensor, tile: PatternTensor) -> ImagesTensor:
        """Start of L2: a grid of pyramids, each lying or standing, each channel with its own
        sign."""
        n, height, width, channels = tf.unstack(tf.shape(x))
        side = tf.shape(tile)[0]
        rows, columns = height // side, width // side
        draws = uniform(seeds, [rows, columns, 1, 1, 1 + channels])
        standing, lying = tf.transpose(tile)[..., None], tile[..., None]
        tiles = tf.where(draws[..., :1] > 0.5, standing, lying) * coin(draws[..., 1:])
        grid = tf.transpose(tiles, [0, 1, 3, 2, 4, 5])
        grid = tf.reshape(grid, [n, rows * side, columns * side, channels])
        top, left = height % side // 2, width % side // 2
        delta = tf.image.pad_to_bounding_box(grid, top, left, height, width)
        return self._at_epsilon(delta, x)

    def _move_mass(
        self, best: ImagesTensor, x: ImagesTensor, draws: Draws, pattern: PatternTensor
    ) -> ImagesTensor:
        """Proposal of L2 (the paper's algorithm 3): one window is emptied, and its mass, with what
        clipping to [0, 1] has left of epsilon, goes into another one, blended with pyramids."""
        delta = best - x
        shape, side = tf.shape(x), tf.shape(pattern)[0]
        target, source = places(draws[:, :2], shape, side), places(draws[:, 2:4], shape, side)
        taken = tf.gather_nd(delta, source)
        emptied = tf.tensor_scatter_nd_update(delta, source, tf.zeros_like(taken))
        # Where the windows overlap, the overlap counts once.
        moved = energy(taken) + energy(tf.gather_nd(emptied, target))
        unused = tf.maximum(self._threat.epsilon**2 - image_norm(delta, Norm.L2) ** 2, 0.0)
        mass = moved + unused[:, None, None, None] / tf.cast(shape[3], tf.float32)
        pyramids = tf.where(draws[:, 4, None, None] > 0.5, tf.transpose(pattern), pattern)
        blend = pyramids[..., None] * coin(draws[:, None, None, 5:])
        blend = unit(blend + unit(tf.gather_nd(delta, target)))
        filled = tf.tensor_scatter_nd_update(emptied, target, blend * tf.sqrt(mass))
        return self._at_epsilon(filled, x)

    def _at_epsilon(self, delta: ImagesTensor, x: ImagesTensor) -> ImagesTensor:
        """x plus delta, scaled to norm epsilon, then clipped, which only shortens it."""
        scale = self._threat.epsilon / tf.maximum(image_norm(delta, Norm.L2), TINY)
        return tf.clip_by_value(x + scale[:, None, None, None] * delta, 0.0, 1.0)


def uniform(seeds: SeedsTensor, shape: tf.Tensor | Sequence[int | tf.Tensor]) -> BatchTensor:
    """Numbers in [0, 1) in the shape, each image's from its own seed."""
    return tf.map_fn(
        lambda seed: tf.random.stateless_uniform(shape, seed), seeds, fn_output_signature=tf.float32
    )


def coin(draws: BatchTensor) -> BatchTensor:
    """Numbers in [0, 1) to -1 or 1."""
    return tf.where(draws < 0.5, -1.0, 1.0)


def places(draws: Corners, shape: tf.Tensor, side: tf.Tensor) -> Places:
    """Indices of a square window of each image, at the corner that the draws choose; `shape` is
    that of the images."""
    corners = tf.cast(draws * tf.cast(shape[1:3] - side + 1, tf.float32), tf.int32)
    grid = tf.stack(
        tf.meshgrid(tf.range(shape[0]), tf.range(side), tf.range(side), indexing="ij"), axis=-1
    )
    return grid + tf.pad(corners, [[0, 0], [1, 0]])[:, None, None, :]


def energy(window: Window) -> Energy:
    """Sum of squares of each channel."""
    return tf.reduce_sum(window**2, axis=[1, 2], keepdims=True)


def unit(window: Window) -> Window:
    """The window with each channel scaled to norm 1."""
    return window / tf.maximum(tf.sqrt(energy(window)), TINY)
