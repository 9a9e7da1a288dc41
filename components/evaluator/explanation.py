"""Why a model was blessed or refused: gate by gate, in numbers and sentences.

Verdicts and numbers are of the one tally that TFMA added up.
"""

import base64
import math
from collections.abc import Iterable

import tensorflow_model_analysis as tfma

from components.evaluator.explained import Explanation
from components.evaluator.gate import Gate
from components.evaluator.metrics import TALLY
from components.evaluator.tally import Tally


def read_tally(evaluation: str) -> Tally:
    """The tally of all images among TFMA's results; an empty one where there was no image.

    Args:
        evaluation: folder of the results.
    """
    slices = dict(tfma.load_eval_result(evaluation).slicing_metrics)
    if () not in slices:
        return Tally()
    written = slices[()][""][""][TALLY]["bytesValue"]
    return Tally.from_json(base64.b64decode(written))


def refused_by(evaluation: str) -> set[str]:
    """Names of the metrics that missed a threshold.

    Args:
        evaluation: folder of TFMA's results.
    """
    slices = tfma.load_validation_result(evaluation).metric_validations_per_slice
    return {failure.metric_key.name for entry in slices for failure in entry.failures}


def explain(gates: Iterable[Gate], tally: Tally, refused: set[str]) -> list[Explanation]:
    """All gates.

    Args:
        gates: those that were judged.
        tally: all images.
        refused: names of the gates that TFMA found missed.
    """
    return [_explanation(gate, tally, gate.name in refused) for gate in gates]


def _explanation(gate: Gate, tally: Tally, refused: bool) -> Explanation:
    finding = gate.measure(tally)
    passed = not refused and gate.holds(finding.compared)
    return Explanation(
        name=gate.name,
        passed=None if passed and finding.not_compared else passed,
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
    )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
