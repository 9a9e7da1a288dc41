"""How images are brought to one size.

A folder of images is stored by this function, and the exported graph has it, so that a server that
gets an original image sees the one that was evaluated. Whoever changes it raises
`components.datasets.image_folder.VERSION`.
"""

import tensorflow as tf


def resized(pixels: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """An image, uint8 [h, w, c], of that height and width: bilinear, with a triangle as wide as the
    scale, so that nothing is skipped (`tf.image.resize` with `antialias`), rounded to whole grey
    levels. An image that has the size stays as it is, to the bit.
    """
    smooth = tf.image.resize(pixels, size, method="bilinear", antialias=True)
    return tf.saturate_cast(tf.round(smooth), tf.uint8)
