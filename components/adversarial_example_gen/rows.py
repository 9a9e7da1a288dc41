"""The record of one clean or attacked image, as a tf.Example.

The Evaluator, the summary and the picture read these records. Rows of the same image share `id`.
`attack` is `clean`, or `ATTACK@MODEL` for the model against which the image was made: seen from that
model the attack is white-box, seen from any other it is a transfer. `fgsm` rows exist for every image;
`strongest` rows hold what the whole suite made of it: the misclassified image where one was found, the
clean image where a bound proved that there is none, else the last attack's.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tensorflow as tf

UNDEFENDED, ROBUST = "undefended", "robust"
MODELS = (UNDEFENDED, ROBUST)
"""Names of the models; each is attacked, and each predicts every image."""

CLEAN, FGSM, STRONGEST = "clean", "fgsm", "strongest"
PREDICTION = "prediction_"
"""Prefix of the columns that hold each model's predicted class."""

BROKEN_BY, CERTIFIED_BY = "broken_by_", "certified_by_"
"""Prefixes of the columns, the same on all rows of an image, that hold the attack that changed a model's
prediction (`clean`: it was wrong without one) and the bound that proves it right; each may be empty."""

NO_BOUND = "none"
"""In `certified_by_` of a model to which no bound applies."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image under one attack.

    image: float32 [h, w, c] in [0, 1]. epsilon is in pixel units. predictions, broken_by, certified_by: by
    model name. Clean rows have norm '' and epsilon 0.
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
        texts = {"id": self.id, "attack": self.attack.encode(), "norm": self.norm.encode()}
        texts |= {BROKEN_BY + model: name.encode() for model, name in self.broken_by.items()}
        texts |= {CERTIFIED_BY + model: name.encode() for model, name in self.certified_by.items()}
        for name, text in texts.items():
            features[name].bytes_list.value.append(text)
        return example.SerializeToString()


def attack_column(attack: str, model: str) -> str:
    """Value of the `attack` column for an attack made with a model's gradients."""
    return f"{attack}@{model}"
