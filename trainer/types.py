"""The arrays and tensors of a training, with dtype and shape.

A letter means the same size throughout a signature: n images of height h, width w and c channels,
k classes.
"""

import numpy as np
import tensorflow as tf
from jaxtyping import Float32, Int64

Images = Float32[np.ndarray, "n h w c"]
"""Pixels in [0, 1]."""

Labels = Int64[np.ndarray, "n"]
Logits = Float32[np.ndarray, "n k"]

ImagesTensor = Float32[tf.Tensor, "n h w c"]
LabelsTensor = Int64[tf.Tensor, "n"]
LogitsTensor = Float32[tf.Tensor, "n k"]
NumbersTensor = Float32[tf.Tensor, "n"]
Scalar = Float32[tf.Tensor, ""]
