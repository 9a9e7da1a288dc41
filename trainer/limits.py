"""How much of an image is taken, here and wherever images come in; read without TensorFlow."""

MAX_PIXELS = 1 << 26
"""Of one image (67 million): a few bytes can claim to be more than any memory holds."""
