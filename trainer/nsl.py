"""The only door to Neural Structured Learning.

NSL 1.4 imports `tf.estimator`, which TensorFlow 2.16 removed, and builds on `tf.keras` being
Keras 2. An empty module in place of its estimator subpackage makes everything else work.
"""

import sys
from types import ModuleType
from typing import Any

import tensorflow as tf

from robustness.errors import RunError


def import_nsl() -> Any:
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
