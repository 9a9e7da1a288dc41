"""Verdicts on disk: a file a batch, so that memory stays flat and an interrupted evaluation goes on
where it stopped."""

import csv
import dataclasses
import json
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.datasets.batches import Batch
from foundation.errors import RunError
from foundation.json import dumps
from foundation.whole import write_whole
from robustness.ball import inside_ball
from robustness.evaluation import Judge, Verdict

COLUMNS = ("label", "prediction", "broken_by", "certified_by")
"""What a verdict says of each image, beside the attacked image."""

CLASSES = ("label", "prediction")
"""Those of them that are classes; -1 is none."""


def kept_verdict(path: Path, batch: Batch, judge: Judge, seed: int) -> Verdict:
    """The verdict on a batch, from its file; judged and written first where there is none.

    What was written is read back and every attacked image is checked.

    Raises:
        RunError: an attacked image in the file lies outside its ball or [0, 1].
    """
    verdict = read_verdict(path)
    if verdict is None or len(verdict.label) != len(batch.y):
        write_verdict(path, judge.judge(batch.x, batch.y, batch.ids, seed))
        verdict = read_verdict(path)
        assert verdict is not None
    inside = inside_ball(tf.constant(verdict.x_adv), tf.constant(batch.x), judge.threat)
    outside = int(np.sum(~np.asarray(inside)))
    if outside:
        raise RunError(
            f"{path}: {outside} attacked images that were read back lie outside the ball or [0, "
            "1]; remove the file and run the same command again"
        )
    return verdict


def write_verdict(path: Path, verdict: Verdict) -> None:
    """Write a verdict, at once or not at all."""
    columns = dataclasses.asdict(verdict) | {"seconds": dumps(verdict.seconds, indent=None)}
    write_whole(path, lambda partial: np.savez(partial, **columns))


def read_verdict(path: Path) -> Verdict | None:
    """The verdict in a file; None when there is no whole one."""
    try:
        with np.load(path) as columns:
            values = dict(columns)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None
    return Verdict(**values | {"seconds": json.loads(str(values["seconds"]))})


def joined(verdicts: list[Verdict]) -> Verdict:
    """One verdict on all images, without the attacked images, which stay on disk."""
    columns: dict[str, npt.NDArray[Any]] = {
        name: np.concatenate([getattr(verdict, name) for verdict in verdicts]) for name in COLUMNS
    }
    stages = dict.fromkeys(name for verdict in verdicts for name in verdict.seconds)
    seconds = {name: sum(verdict.seconds.get(name, 0.0) for verdict in verdicts) for name in stages}
    return Verdict(**columns, x_adv=np.zeros((0, 0, 0, 0), np.float32), seconds=seconds)


def write_examples(path: Path, ids: list[bytes], verdict: Verdict, names: Sequence[str]) -> None:
    """A row an image: its id, the columns of the verdict, and beside each class its name.

    names: of the classes, in the order of the model's outputs.
    """
    columns: dict[str, Iterable[Any]] = {"id": [identity.decode() for identity in ids]}
    for name in COLUMNS:
        values = getattr(verdict, name).tolist()
        columns[name] = values
        if name in CLASSES:
            columns[f"{name}_name"] = [names[c] if 0 <= c < len(names) else "" for c in values]
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
