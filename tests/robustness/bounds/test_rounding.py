"""What float32 can add: sums that cancel, and the textbook's bound."""

import numpy as np
import pytest
import tf_keras
from bounded_networks import keras, predictions

from robustness.bounds import rounding
from robustness.bounds.certifier import Certifier
from robustness.config import BoundName


def test_rounding_is_accounted_for() -> None:
    """Sums that cancel: another order of summation, as another kernel may take, gives another sign
    of the margin."""
    below = 0
    for seed in range(4):
        random = np.random.default_rng(seed)
        kernel = random.normal(size=(2000, 3)).astype(np.float32) * 1e3
        kernel[1000:] = -kernel[:1000] + random.normal(size=(1000, 3)).astype(np.float32) * 1e-4
        image = keras.Input((40, 50, 1))
        hidden = keras.Dense(3, activation="relu")(keras.Flatten()(image))
        model = tf_keras.Model(image, keras.Dense(3)(hidden))
        model.layers[2].set_weights([kernel, np.zeros(3, np.float32)])
        x = np.full((1, 40, 50, 1), random.uniform(0.3, 0.7), np.float32)
        y = predictions(model, x)
        certifier = Certifier(model, (40, 50, 1), 0.0)
        bounds = [certifier.tighten(bound, x, y)[0] for bound in (BoundName.IBP, BoundName.CROWN)]
        for _ in range(10):
            total = np.zeros(3, np.float32)
            for i in random.permutation(2000):
                total = total + x.ravel()[i] * kernel[i]
            logits = np.maximum(total, 0) @ model.layers[3].get_weights()[0]
            found = logits[y[0]] - logits
            found[y[0]] = np.inf
            assert np.all(bounds[0] <= found)
            assert np.all(bounds[1] <= found)
            below += int(np.any(found < 0))
    assert below, "no order of summation changed the prediction: the test sees nothing"


def test_gamma_is_the_textbook_bound() -> None:
    assert rounding.gamma(0) >= 8 * 2.0**-24
    assert rounding.gamma(992) == pytest.approx(1000 * 2.0**-24 / (1 - 1000 * 2.0**-24))
    assert rounding.FEW == 4 * 2.0**-24
