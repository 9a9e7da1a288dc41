"""Why a model passed or was refused: gate by gate, in numbers and sentences."""

import math
from collections.abc import Collection, Iterable
from dataclasses import replace

from components.evaluator.explained import Explanation, Word
from components.evaluator.gate import Gate
from components.evaluator.tally import Tally


def explain(
    gates: Iterable[Gate], tally: Tally, refused: Collection[str] = ()
) -> list[Explanation]:
    """All gates.

    Args:
        gates: those that were judged.
        tally: all images.
        refused: names of the gates that somebody else, such as TFMA, found missed too.
    """
    return [_explanation(gate, tally, gate.name in refused) for gate in gates]


def _explanation(gate: Gate, tally: Tally, refused: bool) -> Explanation:
    finding = gate.measure(tally)
    passed = not refused and gate.holds(finding.compared)
    found = Explanation(
        name=gate.name,
        passed=passed,
        value=_number(finding.value),
        interval=finding.interval,
        judged=_number(finding.compared),
        op=str(gate.op),
        bound=gate.bound,
        images_to_change=None if passed else gate.images_to_change(finding),
        images_against=finding.images_against,
        ids=finding.ids,
        sentence=finding.sentence,
        not_compared=finding.not_compared,
        applies=finding.applies,
    )
    judged = found.word in (Word.PASSED, Word.REFUSED)
    return found if judged else replace(found, passed=None)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
