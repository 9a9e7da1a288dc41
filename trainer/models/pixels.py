"""What networks take for black and white; read without TensorFlow."""

from enum import StrEnum


class Pixels(StrEnum):
    """The numbers that a network takes for black and white."""

    UNIT = "0:1"
    BYTES = "0:255"
    SIGNED = "-1:1"
