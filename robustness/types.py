"""The arrays and tensors that attacks, bounds and checks share, with dtype and shape.

A letter means the same size throughout a signature: n images of height h, width w and c channels,
k classes. In the tests every signature is checked when it is called (`pyproject.toml`).
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from jaxtyping import Bool, Float32, Float64, Int64, Shaped

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

Images = Float32[FloatArray, "n h w c"]
"""Pixels in [0, 1]."""

Labels = Int64[IntArray, "n"]
Logits = Float32[FloatArray, "n k"]

Numbers = Float32[FloatArray, "n"]
Doubles = Float64[npt.NDArray[np.float64], "n"]
Flags = Bool[BoolArray, "n"]
Names = Shaped[npt.NDArray[np.str_], "n"]

ImagesTensor = Float32[tf.Tensor, "n h w c"]
LabelsTensor = Int64[tf.Tensor, "n"]
LogitsTensor = Float32[tf.Tensor, "n k"]
SeedsTensor = Int64[tf.Tensor, "n 2"]
NumbersTensor = Float32[tf.Tensor, "n"]
DoublesTensor = Float64[tf.Tensor, "n"]
FlagsTensor = Bool[tf.Tensor, "n"]
ScalarTensor = Float32[tf.Tensor, ""]
BatchTensor = Float32[tf.Tensor, "n ..."]
"""One array an image, of any shape."""

Model = Callable[..., LogitsTensor]
"""`model(x, training=False)`: `ImagesTensor` to `LogitsTensor`."""
