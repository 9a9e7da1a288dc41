"""What a gate is, and how it is judged from the table of images.

A share of images is judged on the lower end of its exact binomial interval (Clopper & Pearson 1934,
95 %, two-sided), so that a lucky sample does not pass; an upper bound on the upper end. The
champion is compared in pairs, image by image, by the exact form of McNemar's test (1947). Knows
nothing of TFMA.
"""

import bisect
import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from components.evaluator.table import BoolArray, ImageTable
from components.records.columns import CLEAN

CONFIDENCE = 0.95
IntArray = npt.NDArray[np.int64]


class Quantity(StrEnum):
    """What a gate looks at; in parentheses its argument.

    accuracy (attack): share of images right under it. worst_case: right on the clean image and
    under every attack.
    certified: proven right, and right under every attack. gap: right on the clean image, broken by
        an attack.
    worst_class: the worst case of the class where it is lowest. missing (bounds and attacks): how
    many of them the candidate did not face. failed_check (honesty check): 1 where it failed or no
    check ran. disagreement: share of rows on which the served model answers otherwise than the
    attacked one. no_worse (`clean` or `worst_case`): probability that a candidate as good as the
    champion loses on at least as many of the images on which only one of them is right.
    """

    ACCURACY = "accuracy"
    WORST_CASE = "worst_case"
    CERTIFIED = "certified"
    GAP = "gap"
    WORST_CLASS = "worst_class"
    MISSING = "missing"
    FAILED_CHECK = "failed_check"
    DISAGREEMENT = "disagreement"
    NO_WORSE = "no_worse"


class Op(StrEnum):
    """On which side of its bound a value must lie."""

    AT_LEAST = ">="
    AT_MOST = "<="


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One condition on the candidate: a quantity, and the bound on the value by which it is
    judged."""

    name: str
    quantity: Quantity
    bound: float
    op: Op = Op.AT_LEAST
    argument: tuple[str, ...] = ()

    def holds(self, judged: float) -> bool:
        """Whether a value passes; what is not a number does not."""
        return bool((operator.ge if self.op is Op.AT_LEAST else operator.le)(judged, self.bound))

    def judge(self, table: ImageTable) -> "Finding":
        """What the table says."""
        return JUDGES[self.quantity](table, *self.argument)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found for a gate.

    value: as counted. interval: of the value, None where there is none. judged: what the bound is
        compared with.
    against: places in the table of the images that speak against the candidate. if_right: the
    judged value if so many of them did not.
    """

    value: float
    judged: float
    interval: tuple[float, float] | None = None
    against: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    if_right: Callable[[int], float] | None = None

    def images_to_change(self, gate: Gate) -> int | None:
        """How many images would have to be answered otherwise for the gate to hold; None where that
        would not do."""
        if self.if_right is None:
            return None
        judged = self.if_right
        needed = bisect.bisect_left(
            range(len(self.against) + 1), True, key=lambda n: gate.holds(judged(n))
        )
        return needed if needed <= len(self.against) else None


NOT_MEASURED = Finding(value=float("nan"), judged=float("nan"))


def interval(k: int, n: int) -> tuple[float, float]:
    """Exact 95 % interval of a share of k in n, n > 0."""
    found = binomtest(k, n).proportion_ci(CONFIDENCE, method="exact")
    return float(found.low), float(found.high)


def share(good: BoolArray | None) -> Finding:
    """A share that must be high."""
    if good is None or not len(good):
        return NOT_MEASURED
    k, n = int(np.sum(good)), len(good)
    found = interval(k, n)
    return Finding(
        value=k / n,
        interval=found,
        judged=found[0],
        against=np.flatnonzero(~good),
        if_right=lambda more: interval(k + more, n)[0],
    )


def accuracy(table: ImageTable, attack: str) -> Finding:
    return share(table.right.get(attack))


def worst_case(table: ImageTable) -> Finding:
    return share(table.robust)


def certified(table: ImageTable) -> Finding:
    return share(table.certified & table.robust)


def gap(table: ImageTable) -> Finding:
    """Clean accuracy less the worst case; it is the share of the images that attacks alone
    break."""
    if table.clean is None or not len(table.ids):
        return NOT_MEASURED
    broken = table.clean & ~table.robust
    k, n = int(np.sum(broken)), len(broken)
    found = interval(k, n)
    return Finding(
        value=k / n,
        interval=found,
        judged=found[1],
        against=np.flatnonzero(broken),
        if_right=lambda fewer: interval(k - fewer, n)[1],
    )


def worst_class(table: ImageTable) -> Finding:
    classes = [np.flatnonzero(table.label == label) for label in np.unique(table.label)]
    found = [(share(table.robust[rows]), rows) for rows in classes]
    if not found:
        return NOT_MEASURED
    worst, rows = min(found, key=lambda entry: entry[0].judged)
    return Finding(
        value=worst.value,
        interval=worst.interval,
        judged=worst.judged,
        against=rows[worst.against],
        if_right=worst.if_right,
    )


def missing(table: ImageTable, *required: str) -> Finding:
    count = float(len(set(required) - table.ran))
    return Finding(value=count, judged=count)


def failed_check(table: ImageTable, check: str) -> Finding:
    """A check that does not apply to the model has neither passed nor failed."""
    failed = float(check in table.failed or not table.passed)
    return Finding(value=failed, judged=failed)


def disagreement(table: ImageTable) -> Finding:
    found = table.disagreements / table.rows if table.rows else float("nan")
    return Finding(value=found, judged=found)


def no_worse(table: ImageTable, on: str) -> Finding:
    """`value` is the candidate's accuracy less the champion's. Without a champion it is 0, and the
    gate holds."""
    clean = on == CLEAN
    candidate = table.clean if clean else table.robust
    champion = table.champion_right.get(CLEAN) if clean else table.champion_robust
    if not table.champion_right:
        return Finding(value=0.0, judged=1.0)
    if candidate is None or champion is None:
        return NOT_MEASURED
    lost, won = champion & ~candidate, candidate & ~champion
    losses, wins = int(np.sum(lost)), int(np.sum(won))
    judged = functools.partial(_at_least_as_many_losses, losses, wins)
    return Finding(
        value=(wins - losses) / len(candidate),
        judged=judged(0),
        against=np.flatnonzero(lost),
        if_right=judged,
    )


def _at_least_as_many_losses(losses: int, wins: int, fewer: int) -> float:
    """p-value of the one-sided sign test on the images on which only one of the two is right."""
    n = losses - fewer + wins
    return float(binomtest(losses - fewer, n, 0.5, alternative="greater").pvalue) if n else 1.0


JUDGES: dict[Quantity, Callable[..., Finding]] = {
    Quantity.ACCURACY: accuracy,
    Quantity.WORST_CASE: worst_case,
    Quantity.CERTIFIED: certified,
    Quantity.GAP: gap,
    Quantity.WORST_CLASS: worst_class,
    Quantity.MISSING: missing,
    Quantity.FAILED_CHECK: failed_check,
    Quantity.DISAGREEMENT: disagreement,
    Quantity.NO_WORSE: no_worse,
}
