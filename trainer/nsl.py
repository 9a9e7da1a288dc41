"""The only door to Neural Structured Learning.

NSL 1.4 imports `tf.estimator`, which TensorFlow 2.16 removed, and builds on `tf.keras` being
Keras 2. An empty module in place of its estimator subpackage makes everything else work.
"""

import sys
from types import ModuleType

import tensorflow as tf
import tf_keras

from foundation.errors import RunError
from trainer.recipe_config import TutorialConfig


def import_nsl() -> ModuleType:
    """The `neural_structured_learning` package.

    Raises:
        RunError: `tf.keras` is Keras 3 in this process.
    """
    if not tf.keras.layers.Layer.__module__.startswith("tf_keras"):
        raise RunError(
            "Neural Structured Learning needs Keras 2, but tf.keras is Keras 3 in this process: "
            "set TF_USE_LEGACY_KERAS=1 before TensorFlow is imported"
        )
    sys.modules.setdefault("neural_structured_learning.estimator", ModuleType("estimator"))
    import neural_structured_learning

    return neural_structured_learning


def adversarial_regularization(network: tf_keras.Model, config: TutorialConfig) -> tf_keras.Model:
    """The recipe `tutorial`: NSL's own Keras model around a network, as its tutorial ships it.

    Cross-entropy plus `multiplier` times the cross-entropy of the FGSM neighbour, which is not
    clipped to [0, 1]. Its inputs are dictionaries of `image` and `label`. Not compiled.
    """
    nsl = import_nsl()
    adversarial = nsl.configs.make_adv_reg_config(
        multiplier=config.multiplier, adv_step_size=config.step_size, adv_grad_norm=str(config.norm)
    )
    return nsl.keras.AdversarialRegularization(
        network, label_keys=["label"], adv_config=adversarial
    )
