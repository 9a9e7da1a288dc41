"""The gates of the pipeline on a model that was evaluated outside of one.

The same classes judge the same tally; what a pipeline compares with, a champion, is not there, and
the gates that ask for it say so.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from components.evaluator.asked import gates
from components.evaluator.explained import Explanation
from components.evaluator.explanation import explain
from components.evaluator.gate import Best, Disagreement
from components.evaluator.outcome import Facts, ImageOutcome, ModelOutcome
from components.evaluator.tally import Tally
from components.policy import GatesConfig
from components.records.names import CLEAN, ROBUST, STRONGEST, Origin
from components.records.table import text_of
from robustness.config import Check
from robustness.evaluation import OPEN, WRONG, Verdict
from robustness.types import IntArray

NOT_COMPARED = "a check compares with no other model"


def tally_of(
    ids: Sequence[bytes],
    labels: IntArray,
    verdict: Verdict,
    stages: Iterable[str],
    checks: Sequence[Check],
) -> Tally:
    """The tally of the images of a verdict.

    Args:
        ids: of the images.
        labels: of the data, int64 [n]; those of the verdict are outputs of the model.
        verdict: on them.
        stages: names of the bounds and attacks that the model faced.
        checks: its honesty checks; none where they did not run.
    """
    facts = Facts(
        faced=",".join(stages),
        passed=",".join(check.name for check in checks if check.passed),
        failed=",".join(check.name for check in checks if not check.passed),
        challenged=True,
    )
    tally = Tally(
        sentences={check.name: check.sentence for check in checks}, not_compared=NOT_COMPARED
    )
    strongest = str(Origin(STRONGEST, ROBUST))
    columns = zip(
        ids,
        labels.tolist(),
        verdict.broken_by.tolist(),
        verdict.certified_by.tolist(),
        strict=True,
    )
    for identity, label, broken_by, certified_by in columns:
        right = {CLEAN: broken_by != WRONG, strongest: broken_by == OPEN}
        outcome = ModelOutcome(right=right, broken_by=broken_by, certified_by=certified_by)
        tally.add(
            ImageOutcome(
                id=text_of(identity),
                label=label,
                models={ROBUST: outcome},
                rows=len(right),
                disagreements=0,
                facts=frozenset([facts]),
            )
        )
    return tally


def judged_by(
    config: GatesConfig, names: tuple[str, ...], tally: Tally, undone: str = ""
) -> tuple[Explanation, ...]:
    """What the gates say of a tally.

    Args:
        config: the gates.
        names: of the data's classes, in the order of its labels; empty where nobody knows them.
        tally: see `tally_of`.
        undone: why not all images are in it; then no gate on images holds. '' where all are.
    """
    # Whether the served model answers as the attacked one did is an honesty check here: nobody
    # asks the served one about every image.
    asked = [gate for gate in gates(config, names) if not isinstance(gate, Disagreement)]
    told = [replace(g, argument=(NOT_COMPARED,)) if isinstance(g, Best) else g for g in asked]
    explanations = explain(told, tally)
    return tuple(_unfinished(each, undone) if undone else each for each in explanations)


def _unfinished(gate: Explanation, undone: str) -> Explanation:
    """A gate on images, judged on some of them: it does not hold, whatever they say, unless it asks
    nothing."""
    if gate.asks_nothing:
        return replace(gate, passed=None, sentence=f"{undone} {gate.sentence}")
    if gate.images_against is None or gate.not_compared:
        return gate
    return replace(gate, passed=False, images_to_change=None, sentence=f"{undone} {gate.sentence}")
