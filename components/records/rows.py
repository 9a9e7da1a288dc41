"""The record of one clean or attacked image, as a tf.Example.

The Evaluator, the summary and the picture read these records. Rows of the same image share `id`.
`attack` is `clean`, or `ATTACK@MODEL` for the model against which the image was made: seen from
that model the attack is white-box, seen from any other it is a transfer. `fgsm` rows exist for
every image; `strongest` rows hold what the whole suite made of it: the misclassified image where
one was found, the clean image where a bound proved that there is none, else the last attack's.
"""

import json
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tfx.dsl.io import fileio

from components.records.columns import (
    BROKEN_BY,
    CERTIFIED_BY,
    CHECKS,
    FAILED_CHECKS,
    JUDGED_BY,
    PASSED_CHECKS,
    PREDICTION,
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image under one attack.

    image: float32 [h, w, c] in [0, 1]. epsilon is in pixel units. predictions, broken_by,
    certified_by, judged_by: by model name. Clean rows have norm '' and epsilon 0.
    """

    id: bytes
    image: npt.NDArray[np.float32]
    label: int
    attack: str
    norm: str = ""
    epsilon: float = 0.0
    seed: int = 0
    predictions: dict[str, int]
    broken_by: dict[str, str]
    certified_by: dict[str, str]
    judged_by: dict[str, str]
    passed_checks: str = ""
    failed_checks: str = ""

    def serialize(self) -> bytes:
        """The row as a serialized tf.Example."""
        example = tf.train.Example()
        features = example.features.feature
        features["image"].float_list.value.extend(self.image.ravel())
        features["epsilon"].float_list.value.append(self.epsilon)
        for name in ("label", "seed"):
            features[name].int64_list.value.append(getattr(self, name))
        for model, prediction in self.predictions.items():
            features[PREDICTION + model].int64_list.value.append(prediction)
        features["id"].bytes_list.value.append(self.id)
        texts = {
            name: getattr(self, name) for name in ("attack", "norm", PASSED_CHECKS, FAILED_CHECKS)
        }
        by_model = {
            BROKEN_BY: self.broken_by,
            CERTIFIED_BY: self.certified_by,
            JUDGED_BY: self.judged_by,
        }
        texts |= {
            prefix + model: text
            for prefix, column in by_model.items()
            for model, text in column.items()
        }
        for name, text in texts.items():
            features[name].bytes_list.value.append(text.encode())
        return example.SerializeToString()


def read_checks(artifact: str) -> list[dict[str, Any]]:
    """The honesty checks that lie beside the rows of an artifact."""
    with fileio.open(os.path.join(artifact, CHECKS)) as file:
        return list(json.load(file))
