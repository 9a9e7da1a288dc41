"""What networks take for black and white; read without TensorFlow."""

from enum import StrEnum


class Pixels(StrEnum):
    """The numbers that a network takes for black and white."""

    UNIT = "0:1"
    BYTES = "0:255"
    SIGNED = "-1:1"

    @property
    def ends(self) -> tuple[float, float]:
        """The numbers for black and for white."""
        black, white = map(float, self.value.split(":"))
        return black, white
