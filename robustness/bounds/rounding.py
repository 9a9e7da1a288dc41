"""What float32 arithmetic can add to a sum, so that bounds hold for the numbers a network really
computes.

The model of the machine: every product and every sum of two float32 numbers is rounded to nearest,
in any order of summation, with or without fused multiply-add (Higham 2002, "Accuracy and Stability
of Numerical Algorithms", eq. 3.5). It does not cover TF32, bfloat16 and Winograd convolutions.
"""

UNIT = 2.0**-24
"""Unit round-off of float32."""

TINY = 1e-30
"""Larger than what any sum here can lose to underflow."""

FEW = 4 * UNIT
"""Covers a handful of elementwise operations, relative to the magnitudes that enter them."""


def gamma(terms: int) -> float:
    """Relative error of a float32 sum of `terms` products in any order, with a few operations to
    spare."""
    return (terms + 8) * UNIT / (1.0 - (terms + 8) * UNIT)
