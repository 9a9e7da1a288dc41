"""The door to Neural Structured Learning."""

import keras
import pytest
import tensorflow as tf

from foundation.errors import RunError
from trainer.nsl import import_nsl


def test_nsl_under_keras_3_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tf.keras` is this package where TF_USE_LEGACY_KERAS is not set."""
    monkeypatch.setattr(tf, "keras", keras)
    with pytest.raises(RunError, match="set TF_USE_LEGACY_KERAS=1 before TensorFlow is imported"):
        import_nsl()
