"""What the models made of an image: its rows, reduced to what gates and figures are counted from.

A row is right where the model gives the true class; the candidate must be right twice, as it is
served and as it was attacked. Rows come in any order and in any number of parts; one that comes
twice counts as the worse of the two. Knows nothing of TFMA and files; read without TensorFlow.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from components.records.names import CHAMPION, ROBUST

if TYPE_CHECKING:
    from components.records.record import Rows

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


class Answer(NamedTuple):
    """What a model made of one row. broken_by, certified_by: as in `Rows`, the same on all rows of
    an image."""

    right: bool
    broken_by: str
    certified_by: str


class Facts(NamedTuple):
    """What is the same on all rows of an artifact. faced, passed, failed: names with commas between
    them, of bounds and attacks that the candidate faced and of its honesty checks. challenged:
    whether ChampionChallenge looked for a champion, though there may be none."""

    faced: str
    passed: str
    failed: str
    challenged: bool


class RowOutcome(NamedTuple):
    """What the models made of one row.

    agrees: whether the served candidate answers as the attacked one did. answers: by model; without
    the champion where there is none. champion_on: whether the champion is right on other rows of
    the image, by their attack.
    """

    attack: str
    label: int
    agrees: bool
    answers: dict[str, Answer]
    facts: Facts
    champion_on: Mapping[str, bool]


@dataclass(frozen=True, kw_only=True)
class ModelOutcome:
    """What one model made of an image. right: by attack, `clean` among them."""

    right: Mapping[str, bool]
    broken_by: str
    certified_by: str


@dataclass(frozen=True, kw_only=True)
class ImageOutcome:
    """What the models made of an image. rows: how many it has. disagreements: how many of them the
    served candidate answers otherwise than the attacked one did."""

    id: str
    label: int
    models: Mapping[str, ModelOutcome]
    rows: int
    disagreements: int
    facts: frozenset[Facts]


def row_outcomes(
    rows: "Rows", served: IntArray | None = None, challenged: bool = False
) -> Iterator[tuple[bytes, RowOutcome]]:
    """The id of each row's image, and the row's outcome.

    Args:
        rows: a batch of any size.
        served: classes that the candidate gives as it is served; None where nobody asked it.
        challenged: whether ChampionChallenge looked for a champion; a column for it says so too.
    """
    predictions = rows.predictions
    challenged = challenged or CHAMPION in predictions
    agrees = np.ones(len(rows), bool) if served is None else predictions[ROBUST] == served
    right = {model: predicted == rows.label for model, predicted in predictions.items()}
    right[ROBUST] &= agrees
    answers = {model: _answers(rows, model, column) for model, column in right.items()}
    texts = zip(rows.judged_by[ROBUST], rows.passed_checks, rows.failed_checks, strict=True)
    for i, each in enumerate(texts):
        yield (
            rows.id[i],
            RowOutcome(
                attack=rows.attack[i],
                label=int(rows.label[i]),
                agrees=bool(agrees[i]),
                answers={
                    model: answer
                    for model, column in answers.items()
                    if (answer := column[i]) is not None
                },
                facts=Facts(*each, challenged=challenged),
                champion_on=_champion_on(rows, i),
            ),
        )


def _answers(rows: "Rows", model: str, right: BoolArray) -> list[Answer | None]:
    """What a model made of each row; None where the champion is not there."""
    if model == CHAMPION:
        there = rows.predictions[CHAMPION] >= 0
        pairs = zip(right.tolist(), there.tolist(), strict=True)
        return [Answer(good, "", "") if known else None for good, known in pairs]
    return list(map(Answer, right.tolist(), rows.broken_by[model], rows.certified_by[model]))


def _champion_on(rows: "Rows", place: int) -> dict[str, bool]:
    """What a row says of the champion on other rows of its image."""
    if rows.champion_on is None:
        return {}
    label = int(rows.label[place])
    answers = (answer.rpartition(":") for answer in rows.champion_on[place].split(","))
    return {attack: int(given) == label for attack, _, given in answers}


def image_outcome(identity: bytes, rows: Sequence[RowOutcome]) -> ImageOutcome:
    """The outcome of an image, of all its rows; at least one."""
    models = {name for row in rows for name in row.answers}
    return ImageOutcome(
        id=identity.decode(errors="backslashreplace"),
        label=min(row.label for row in rows),
        models={name: _model_outcome(name, rows) for name in sorted(models)},
        rows=len(rows),
        disagreements=sum(not row.agrees for row in rows),
        facts=frozenset(row.facts for row in rows),
    )


def _model_outcome(model: str, rows: Sequence[RowOutcome]) -> ModelOutcome:
    right: dict[str, bool] = {}
    answers = [(row.attack, row.answers[model]) for row in rows if model in row.answers]
    for attack, answer in answers:
        right[attack] = right.get(attack, True) and answer.right
    elsewhere = [each for row in rows for each in row.champion_on.items() if model == CHAMPION]
    for attack, good in elsewhere:
        right[attack] = right.get(attack, True) and good
    certified_by = {answer.certified_by for _, answer in answers}
    return ModelOutcome(
        right=right,
        broken_by=max(answer.broken_by for _, answer in answers),
        certified_by=certified_by.pop() if len(certified_by) == 1 else "",
    )
