"""The record of one clean or attacked image, as a tf.Example.

The Evaluator, the summary and the picture read these records. Rows of the same image share `id`.
`attack` is `clean`, or `ATTACK@MODEL` for the model whose gradients made the image: seen from that
model the attack is white-box, seen from any other it is a transfer.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tensorflow as tf

UNDEFENDED, ROBUST = "undefended", "robust"
MODELS = (UNDEFENDED, ROBUST)
"""Names of the models; each is attacked, and each predicts every image."""

CLEAN = "clean"
PREDICTION = "prediction_"
"""Prefix of the columns that hold each model's predicted class."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image under one attack.

    image: float32 [h, w, c] in [0, 1]. step_size and epsilon are in pixel units. predictions: predicted
    class by model name. Clean rows have norm '' and zeros in the numbers of the attack.
    """

    id: bytes
    image: npt.NDArray[np.float32]
    label: int
    attack: str
    norm: str = ""
    epsilon: float = 0.0
    steps: int = 0
    restarts: int = 0
    step_size: float = 0.0
    seed: int = 0
    predictions: dict[str, int]

    def serialize(self) -> bytes:
        """The row as a serialized tf.Example."""
        example = tf.train.Example()
        features = example.features.feature
        features["image"].float_list.value.extend(self.image.ravel())
        for name in ("epsilon", "step_size"):
            features[name].float_list.value.append(getattr(self, name))
        for name in ("label", "steps", "restarts", "seed"):
            features[name].int64_list.value.append(getattr(self, name))
        for model, prediction in self.predictions.items():
            features[PREDICTION + model].int64_list.value.append(prediction)
        for name, text in {"id": self.id, "attack": self.attack.encode(), "norm": self.norm.encode()}.items():
            features[name].bytes_list.value.append(text)
        return example.SerializeToString()


def attack_column(attack: str, model: str) -> str:
    """Value of the `attack` column for an attack made with a model's gradients."""
    return f"{attack}@{model}"
