"""Verdicts on disk: a file a batch, so that memory stays flat and an interrupted evaluation goes on
where it stopped."""

import dataclasses
import json
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.datasets.batches import Batch
from components.records.table import Found, text_of
from foundation.errors import RunError
from foundation.events import Fields
from foundation.json import dumps
from foundation.whole import write_whole
from robustness.ball import inside_ball
from robustness.evaluation import OPEN, WRONG, Judge, Verdict
from robustness.types import Flags, Labels, Logits

log = logging.getLogger("gauntlet.evaluation")

COLUMNS = Found._fields[1:]
"""What a verdict says of each image, beside the attacked image."""


def kept_verdict(path: Path, batch: Batch, judge: Judge, seed: int, key: str = "") -> Verdict:
    """The verdict on a batch, from its file; judged and written first where there is none that can
    be believed.

    What was written is read back and every attacked image is checked.

    Args:
        path: its file.
        batch: images, labels and ids.
        judge: who judges them.
        seed: seed of the attacks.
        key: hash of all that may change verdicts, which the file must have too.

    Raises:
        RunError: an attacked image in the file lies outside its ball or [0, 1].
    """
    kept = read_verdict(path, key)
    if kept is not None and _has_form(kept, batch):
        _require_inside(path, kept, batch, judge)
        doubt = disagreement(kept, batch, judge)
        if not doubt:
            return kept
        again = "%s is not believed: %s. Its images are judged again"
        log.info(again, path, doubt, extra=Fields(stays=True))
    write_verdict(path, judge.judge(batch.x, batch.y, batch.ids, seed), key)
    verdict = read_verdict(path, key)
    assert verdict is not None
    _require_inside(path, verdict, batch, judge)
    return verdict


def _has_form(verdict: Verdict, batch: Batch) -> bool:
    """Whether a verdict has a row for each image, and columns of their kinds."""
    rows = {len(getattr(verdict, name)) for name in COLUMNS}
    kinds = [getattr(verdict, name).dtype.kind for name in COLUMNS]
    form = verdict.x_adv.shape, verdict.x_adv.dtype
    return rows == {len(batch.y)} and kinds == list("iiUU") and form == (batch.x.shape, np.float32)


def _require_inside(path: Path, verdict: Verdict, batch: Batch, judge: Judge) -> None:
    """Raises RunError where an attacked image lies outside the ball or [0, 1]."""
    inside = inside_ball(tf.constant(verdict.x_adv), tf.constant(batch.x), judge.threat)
    outside = int(np.sum(~np.asarray(inside)))
    if outside:
        raise RunError(
            f"{path}: {outside} attacked images that were read back lie outside the ball or [0, "
            "1]; remove the file and run the same command again"
        )


def disagreement(verdict: Verdict, batch: Batch, judge: Judge) -> str:
    """What a verdict that was kept says otherwise than data and model do; '' where nothing is.

    Whether attacks would find more is not asked: that is the work that was kept.
    """
    if not np.array_equal(verdict.label, batch.y):
        return "it has other labels"
    clean, attacked = (judge.attacker.logits(x) for x in (batch.x, verdict.x_adv))
    broken, wrong = verdict.broken_by != OPEN, verdict.broken_by == WRONG
    known = (verdict.prediction >= -1) & (verdict.prediction < clean.shape[1])
    claims = {
        "it predicts what is no class": known,
        "the model predicts something else": _nearly(
            clean, np.where(known, verdict.prediction, -1)
        ),
        "the model is right where it says wrong": ~wrong | _nearly(clean, batch.y, right=False),
        "the model is wrong where it says right": wrong | _nearly(clean, batch.y),
        "an image does not break the model": ~broken | _nearly(attacked, batch.y, right=False),
        "an image breaks the model": broken | _nearly(attacked, batch.y),
    }
    return next((f"{said} ({np.sum(~held)})" for said, held in claims.items() if not all(held)), "")


def _nearly(logits: Logits, label: Labels, right: bool = True) -> Flags:
    """Whether each label is, or is not, what the logits say; where two are as good as equal, either
    is true, since the same model may round differently. -1 is the label of no number."""
    rows = np.arange(len(label))
    finite = np.all(np.isfinite(logits), axis=1)
    numbers = np.where(finite[:, None], logits, 0)
    own = np.where(label < 0, -np.inf, numbers[rows, label])
    numbers[rows, label] = -np.inf
    margin = np.where(finite, own - numbers.max(axis=1), -np.inf)
    allowed = ROUNDING * np.max(np.abs(np.where(finite[:, None], logits, 0)), axis=1)
    if right:
        return np.asarray((margin >= -allowed) | (~finite & (label < 0)))
    return np.asarray(margin <= allowed)


ROUNDING = 1e-3
"""Share of the largest logit by which logits of the same model and image may differ."""


def write_verdict(path: Path, verdict: Verdict, key: str = "") -> None:
    """Write a verdict with its key, at once or not at all."""
    columns = dataclasses.asdict(verdict) | {"seconds": dumps(verdict.seconds, indent=None)}
    write_whole(path, lambda partial: np.savez(partial, **columns, key=key))


def read_verdict(path: Path, key: str = "") -> Verdict | None:
    """The verdict in a file; None when there is no whole one with this key."""
    try:
        with np.load(path, allow_pickle=False) as columns:
            values = dict(columns)
        if str(values.pop("key")) != key:
            return None
        return Verdict(**values | {"seconds": json.loads(str(values["seconds"]))})
    except Exception:  # whatever is wrong with a file that is not ours
        return None


def joined(verdicts: list[Verdict]) -> Verdict:
    """One verdict on all images, without the attacked images, which stay on disk."""
    columns: dict[str, npt.NDArray[Any]] = {
        name: np.concatenate([getattr(verdict, name) for verdict in verdicts]) for name in COLUMNS
    }
    stages = dict.fromkeys(name for verdict in verdicts for name in verdict.seconds)
    seconds = {name: sum(verdict.seconds.get(name, 0.0) for verdict in verdicts) for name in stages}
    return Verdict(**columns, x_adv=np.zeros((0, 0, 0, 0), np.float32), seconds=seconds)


def found_on(ids: Iterable[bytes], verdict: Verdict) -> Iterator[Found]:
    """A row an image, as `examples.csv` has it."""
    columns = (getattr(verdict, name).tolist() for name in COLUMNS)
    for identity, *row in zip(ids, *columns, strict=True):
        yield Found(text_of(identity), *row)
