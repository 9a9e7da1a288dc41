"""The figures of two runs beside each other, and whether they differ by more than chance.

Shares are of the summaries, their intervals exact; the test goes by `examples.csv` of both.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from components.evaluator.finding import confidence_interval, paired_test
from components.records.names import CHAMPION, CLEAN, ROBUST, Origin
from components.records.table import Found
from pipeline.report.run_summary import RunSummary
from pipeline.root.root import EXAMPLES
from robustness.suites import shown

NOT_BY_IMAGE = "a run notes it for all images together, and not for each"
OTHER_ATTACKS = "the two runs were not attacked in the same way"
OTHER_MODELS = (
    "it is also over images that were made against a champion, which the two do not have in "
    "common; `left by` the last attack is about the same attacks"
)

Holds = Callable[[Found], bool]


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share of the test images, with its exact 95 % interval."""

    value: float
    interval: tuple[float, float]
    images: int


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Two models on the same images, by the exact two-sided test on pairs (McNemar).

    a_alone, b_alone: images on which only that one is right. p_value: probability of numbers at
    least as unequal, were both models as good.
    """

    a_alone: int
    b_alone: int
    p_value: float


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One figure of both runs.

    a, b: None where a run has no such figure. difference: that of b less that of a.
    paired: None where the two were not held against each other image by image, and why_not says
        why.
    """

    name: str
    a: Share | None
    b: Share | None
    difference: float | None
    paired: Paired | None
    why_not: str


def compared(one: "Measured", other: "Measured", why_not: str) -> Iterator[Compared]:
    """All figures of two runs.

    why_not: why none of them can be held against the other image by image; '' where that can be.
    """
    ours, theirs = figures_of(one.summary), figures_of(other.summary)
    same_attacks = _attacks(one.summary) == _attacks(other.summary)
    transfers = [run.summary.models[ROBUST].transfer.keys() for run in (one, other)]
    champions = any(Origin.of(name).source == CHAMPION for each in transfers for name in each)
    same_models = transfers[0] == transfers[1] and not champions
    for name in dict.fromkeys([*ours, *theirs]):
        pair = (ours.get(name, MISSING), theirs.get(name, MISSING))
        a, b = one.share(pair[0]), other.share(pair[1])
        reason = why_not
        if a is None or b is None:
            reason = "only one of the two has it"
        elif pair[0].depends_on_attacks and not same_attacks:
            reason = reason or OTHER_ATTACKS
        elif pair[0].depends_on_transfers and not same_models:
            reason = reason or OTHER_MODELS
        reason = reason or one.doubt(pair[0]) or other.doubt(pair[1])
        yield Compared(
            name=name,
            a=a,
            b=b,
            difference=b.value - a.value if a and b else None,
            paired=None if reason else paired(one.holding(pair[0]), other.holding(pair[1])),
            why_not=reason,
        )


def _attacks(summary: RunSummary) -> tuple[str, list[tuple[str, dict[str, int | float]]]]:
    """What decides how hard a model was tried: bounds by their suite, attacks in their order."""
    return summary.suite, [*summary.attacks.items()]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A share of one run, and of which image it holds: None where nobody knows that."""

    share: float | None
    holds: Holds | None = None
    depends_on_attacks: bool = True
    depends_on_transfers: bool = False


MISSING = Figure(share=None)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A run: its summary, and what it found of each image, in whatever order; empty where nobody
    knows that any more."""

    summary: RunSummary
    found: dict[str, Found]

    @property
    def images(self) -> int:
        return self.summary.examples["test"]

    def share(self, figure: Figure) -> Share | None:
        if figure.share is None:
            return None
        count = round(figure.share * self.images)
        interval = confidence_interval(count, self.images)
        return Share(value=figure.share, interval=interval, images=self.images)

    def holding(self, figure: Figure) -> set[str]:
        """Ids of the images of which a figure holds."""
        assert figure.holds
        return {identity for identity, found in self.found.items() if figure.holds(found)}

    def doubt(self, figure: Figure) -> str:
        """Why its images cannot be counted: the figure and the table must say the same."""
        if figure.holds is None or figure.share is None:
            return NOT_BY_IMAGE
        if len(self.holding(figure)) != round(figure.share * self.images):
            return f"{EXAMPLES} of run {self.summary.run_id} says otherwise than its summary"
        return ""


def paired(ours: set[str], theirs: set[str]) -> Paired:
    """Two models by the images on which each is right, out of the same ones."""
    alone, other = len(ours - theirs), len(theirs - ours)
    return Paired(a_alone=alone, b_alone=other, p_value=paired_test(alone, other))


def figures_of(summary: RunSummary) -> dict[str, Figure]:
    """The figures of the robust model, by name; that of an attack says how hard it tried."""
    shares = summary.models[ROBUST]
    figures = {
        "clean": Figure(
            share=shares.clean,
            holds=lambda found: found.prediction == found.label,
            depends_on_attacks=False,
        )
    }
    for attack, share in shares.transfer.items():
        figures[f"transfer of {attack}"] = Figure(share=share)
    before = [CLEAN]
    for attack, share in shares.white_box.items():
        before.append(attack)
        # FGSM stands there alone where it is no attack of the suite.
        holds = None if attack not in summary.attacks else left_by(tuple(before))
        figures[f"left by {shown(attack, summary.attacks.get(attack, {}))}"] = Figure(
            share=share, holds=holds
        )
    worst = Figure(
        share=shares.worst_case,
        holds=lambda found: not found.broken_by,
        depends_on_transfers=True,
    )
    proven = Figure(share=shares.certified, holds=lambda found: found.certified)
    return figures | {"worst case": worst, "certified": proven}


def left_by(attacks: tuple[str, ...]) -> Holds:
    """Whether an image is right after these attacks."""
    return lambda found: found.broken_by not in attacks
