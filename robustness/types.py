"""The types that attacks, bounds and checks share."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import tensorflow as tf

Model = Callable[..., tf.Tensor]
"""`model(x, training=False)`: float32 [n, h, w, c] in [0, 1] to logits float32 [n, k]."""

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
