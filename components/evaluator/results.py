"""What TFMA wrote: the tally of all images, and the metrics that missed their thresholds."""

import base64

import tensorflow_model_analysis as tfma

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
