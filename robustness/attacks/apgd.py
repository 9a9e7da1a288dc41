"""Auto-PGD (Croce & Hein 2020): momentum, and a step size that halves where the ascent stalls.

One class for the cross-entropy and for the targeted difference of logits ratio. Knows one model,
one threat model and one loss.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from foundation.seeds import Seeds, restart_seeds
from robustness.ascent import slope, steepest
from robustness.attacks.pgd import POINTS_BETWEEN_COMPACTIONS
from robustness.ball import project, random_start
from robustness.config import ApgdCe, ApgdT, ThreatModel
from robustness.inputs import image_spec
from robustness.types import (
    Flags,
    FlagsTensor,
    Images,
    ImagesTensor,
    Labels,
    LabelsTensor,
    LogitsTensor,
    Model,
    NumbersTensor,
    SeedsTensor,
)

TargetedLoss = Callable[[LogitsTensor, LabelsTensor, LabelsTensor], NumbersTensor]
"""Logits, true class and target to the loss."""

MOMENTUM = 0.25
"""Share of the previous move in the next one (the paper's 1 - alpha)."""

PROGRESS = 0.75
"""The step halves where fewer than this share of the moves since the last check raised the loss
(rho)."""


class Segment(NamedTuple):
    """A few iterations, and whether the step size is checked after them, over a window of
    iterations."""

    iterations: int
    check: bool
    window: int


def schedule(steps: int) -> Iterator[Segment]:
    """The published checkpoints, 22 % into the run and then ever closer, down to 6 % apart; in
    between segments that are short enough to drop finished images."""
    window, shrink, shortest = (max(int(share * steps), 1) for share in (0.22, 0.03, 0.06))
    left, until_check = steps, window
    while left:
        iterations = min(POINTS_BETWEEN_COMPACTIONS, until_check, left)
        left, until_check = left - iterations, until_check - iterations
        yield Segment(iterations, until_check == 0, window)
        if until_check == 0:
            window = until_check = max(window - shrink, shortest)


class State(NamedTuple):
    """Where the ascent of each image stands.

    best, best_gradient, best_loss: point with the highest loss. wrong: whether an iterate was
    misclassified; then `best` is that iterate. rises: number of moves since the last check that
    raised the loss. checked_loss, halved: best_loss at the last check, and whether the step was
    halved there. first: whether no move was made yet.
    """

    iterate: ImagesTensor
    previous: ImagesTensor
    gradient: ImagesTensor
    loss: NumbersTensor
    best: ImagesTensor
    best_gradient: ImagesTensor
    best_loss: NumbersTensor
    wrong: FlagsTensor
    step: NumbersTensor
    rises: NumbersTensor
    checked_loss: NumbersTensor
    halved: FlagsTensor
    first: FlagsTensor


class CompiledApgd:
    """Auto-PGD on one model, compiled once for all batch sizes."""

    def __init__(self, model: Model, threat: ThreatModel, loss: TargetedLoss) -> None:
        self._model, self._threat, self._loss = model, threat, loss
        image = image_spec(model)
        number, flag = tf.TensorSpec([None], tf.float32), tf.TensorSpec([None], tf.bool)
        label, seed = tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, 2], tf.int64)
        count, check = tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.bool)
        state = State(
            iterate=image, previous=image, gradient=image, loss=number, best=image,
            best_gradient=image, best_loss=number, wrong=flag, step=number, rises=number,
            checked_loss=number, halved=flag, first=flag,
        )  # fmt: skip
        self._begin = tf.function(self._begin_batch, input_signature=[image, label, label, seed])
        self._advance = tf.function(
            self._advance_batch, input_signature=[state, image, label, label, count, check, count]
        )

    def run(
        self,
        x: Images,
        y: Labels,
        seeds: Seeds,
        attack: ApgdCe | ApgdT,
        targets: list[Labels] | None = None,
    ) -> Images:
        """The attack with its published schedule; an image that is misclassified is done.

        Args:
            x: images in [0, 1].
            y: true labels.
            seeds: what the starts are drawn from.
            attack: the effort.
            targets: for a targeted loss, the classes to aim at, one after the other.

        Returns:
            images inside the ball and [0, 1]: a misclassified point, otherwise the one with the
            highest loss of the last restart.
        """
        result = x.copy()
        open_rows = np.arange(len(x))
        goals = [y] if targets is None else targets
        for i in range(attack.restarts * len(goals)):
            if not len(open_rows):
                break
            goal, restart = goals[i % len(goals)][open_rows], restart_seeds(seeds[open_rows], i)
            best, wrong = self._ascend(x[open_rows], y[open_rows], goal, restart, attack.steps)
            result[open_rows] = best
            open_rows = open_rows[~wrong]
        return result

    def _ascend(
        self, x: Images, y: Labels, target: Labels, seeds: Seeds, steps: int
    ) -> tuple[Images, Flags]:
        """One restart towards one target: of each image the best point, and whether it is
        misclassified."""
        best, wrong, rows = x.copy(), np.zeros(len(x), bool), np.arange(len(x))
        state = State(*map(np.asarray, self._begin(x, y, target, seeds)))
        for segment in [None, *schedule(steps)]:
            if segment:
                advanced = self._advance(state, x[rows], y[rows], target[rows], *segment)
                state = State(*map(np.asarray, advanced))
            best[rows], wrong[rows] = state.best, state.wrong
            rows, state = rows[~state.wrong], State(*(array[~state.wrong] for array in state))
            if not len(rows):
                break
        return best, wrong

    def _look(
        self, iterate: ImagesTensor, y: LabelsTensor, target: LabelsTensor
    ) -> tuple[ImagesTensor, NumbersTensor, FlagsTensor]:
        """Gradient, loss and whether it is misclassified, of each point."""
        gradient, loss, logits = slope(
            self._model, iterate, lambda logits: self._loss(logits, y, target)
        )
        return gradient, loss, tf.argmax(logits, axis=1) != y

    def _begin_batch(
        self, x: ImagesTensor, y: LabelsTensor, target: LabelsTensor, seeds: SeedsTensor
    ) -> State:
        start = random_start(x, seeds, self._threat, on_surface=True)
        gradient, loss, wrong = self._look(start, y, target)
        return State(
            iterate=start, previous=start, gradient=gradient, loss=loss, best=start,
            best_gradient=gradient, best_loss=loss, wrong=wrong,
            step=tf.fill(tf.shape(loss), 2.0 * self._threat.epsilon), rises=tf.zeros_like(loss),
            checked_loss=loss, halved=tf.ones_like(wrong), first=tf.ones_like(wrong),
        )  # fmt: skip

    def _advance_batch(
        self,
        state: State,
        x: ImagesTensor,
        y: LabelsTensor,
        target: LabelsTensor,
        iterations: tf.Tensor,
        check: tf.Tensor,
        window: tf.Tensor,
    ) -> State:
        for _ in tf.range(iterations):
            state = self._move(state, x, y, target)
        return self._checked(state, window) if check else state

    def _move(self, state: State, x: ImagesTensor, y: LabelsTensor, target: LabelsTensor) -> State:
        """One iteration. The first has no previous move, and takes the gradient step in full."""
        step = state.step[:, None, None, None] * steepest(state.gradient, self._threat.norm)
        ahead = project(state.iterate + step, x, self._threat)
        gain, drift = ahead - state.iterate, state.iterate - state.previous
        blended = state.iterate + (1 - MOMENTUM) * gain + MOMENTUM * drift
        onwards = tf.where(state.first[:, None, None, None], ahead, blended)
        iterate = project(onwards, x, self._threat)
        gradient, loss, wrong = self._look(iterate, y, target)
        better = ~state.wrong & (wrong | (loss > state.best_loss))
        wide = better[:, None, None, None]
        return state._replace(
            iterate=iterate,
            previous=state.iterate,
            gradient=gradient,
            loss=loss,
            best=tf.where(wide, iterate, state.best),
            best_gradient=tf.where(wide, gradient, state.best_gradient),
            best_loss=tf.where(better, loss, state.best_loss),
            wrong=state.wrong | wrong,
            rises=state.rises + tf.cast(loss > state.loss, tf.float32),
            first=tf.zeros_like(wrong),
        )

    def _checked(self, state: State, window: tf.Tensor) -> State:
        """Halve the step and go back to the best point where the ascent stalls (the paper's two
        conditions)."""
        stalls = state.rises <= PROGRESS * tf.cast(window, tf.float32)
        stands = ~state.halved & (state.checked_loss >= state.best_loss)
        halve = stalls | stands
        wide = halve[:, None, None, None]
        return state._replace(
            iterate=tf.where(wide, state.best, state.iterate),
            gradient=tf.where(wide, state.best_gradient, state.gradient),
            step=tf.where(halve, state.step / 2, state.step),
            rises=tf.zeros_like(state.rises),
            checked_loss=state.best_loss,
            halved=halve,
        )
