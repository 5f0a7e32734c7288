"""The fraction of its size at which a picture is decoded that no network sees whole."""

from __future__ import annotations

LEAST_FACTOR = 2
"""A picture is decoded at twice the side that is needed at least: what is left is made smaller with antialiasing, as always."""
FACTORS = (8, 4, 2)
"""The fractions at which libjpeg decodes, by a smaller inverse transform of each block."""
LONGEST = 32
"""A picture that is longer than so many times its width is decoded whole."""


def factor_of(height: int, width: int, least_px: int, *, is_turned: bool) -> int:
    """The largest factor that leaves the shorter side `least_px` pixels; 1 for none.

    A picture that is turned after it was decoded begins with what was its end: there the factor has to divide both sides.
    """
    short, long = sorted((height, width))
    if long > LONGEST * short:
        return 1
    for factor in FACTORS:
        divides = height % factor == 0 and width % factor == 0
        if short // factor >= least_px and (divides or not is_turned):
            return factor
    return 1
