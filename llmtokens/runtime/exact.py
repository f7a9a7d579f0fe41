"""Sums without rounding, which do not depend on who adds, or in which order."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from .arrays import Floats

_DIGITS = 53  # binary ones of a double
_LOW = 26  # of them in the lower half
_BLOCK = 1 << 16  # numbers at a time


def exact_sum(values: Floats) -> Fraction:
    """The sum of finite numbers as it is, so that sums of parts make that of the whole.

    Every number is an integer of 53 digits times a power of two. Of those with the same power the
    upper and the lower half of the digits are added apart: neither sum outgrows a double.

    >>> float(exact_sum(np.array([1e30, 1.0, -1e30]))), 1e30 + 1.0 - 1e30
    (1.0, 0.0)
    """
    total = Fraction(0)
    for k in range(0, len(values), _BLOCK):
        part, power = np.frexp(np.asarray(values[k : k + _BLOCK], np.float64))
        whole = np.ldexp(part, _DIGITS).astype(np.int64)
        least = int(power.min())
        upper = np.bincount(power - least, whole >> _LOW)
        lower = np.bincount(power - least, whole & ((1 << _LOW) - 1))
        for above in np.flatnonzero((upper != 0) | (lower != 0)).tolist():
            digits = (int(upper[above]) << _LOW) + int(lower[above])
            total += digits * Fraction(2) ** (least + above - _DIGITS)
    return total
