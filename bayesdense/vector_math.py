"""Exponentials, logarithms and a quantile for compiled loops.

LLVM vectorises no call of `exp` or `log`, and these are most of the work of a likelihood: here they
are arithmetic on whole arrays. Compiled callers keep the machine code of these functions in caches
of their own: who edits this file deletes `__pycache__`.
"""

import math
from collections.abc import Callable
from typing import Any, Final, Literal, cast

import numba
import numpy as np

from bayesdense.arrays import Floats

#: What may be done to sums; NaN stays NaN.
SUMS: Final = frozenset({"contract", "reassoc", "nsz"})

#: 1 / log 2, log 2 in two parts, the first short, and 1.5 * 2^52.
_PER_LOG_2 = 1.4426950408889634
_LOG_2_HIGH, _LOG_2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10
_ROUND = 6755399441055744.0
_MANTISSA, _HALF_BITS, _SQRT_HALF = 0x000FFFFFFFFFFFFF, 0x3FE0000000000000, math.sqrt(0.5)


def compiled[F: Callable[..., Any]](
    *, sums: frozenset[str] = frozenset(), inline: Literal["never", "always"] = "never"
) -> Callable[[F], F]:
    """Compile a loop, and keep its machine code.

    It is put into its callers: a call that is left would go to whichever copy of the function the
    process has loaded first, and copies differ in last bits.

    Parameters
    ----------
    sums
        What may be done to sums (LLVM's flags).
    inline
        Whether numba rather than LLVM puts it into its callers ("always").
    """
    decorate = numba.njit(
        cache=True,
        nogil=True,
        error_model="numpy",
        forceinline=True,
        fastmath=set(sums),
        inline=inline,
    )
    return cast("Callable[[F], F]", decorate)


@compiled(sums=frozenset({"contract"}))
def exponentials_in_place(x: Floats, top: float, scratch: Floats) -> None:
    """Set x to exp(x - top) for x <= top, to 1e-15; below exp(-700) it stays there.

    exp(v) = 2^k exp(r) with k the integer next to v / log 2: adding 1.5 * 2^52 leaves k in the last
    bits of the sum, from where a shift by 52 makes it the exponent of 2^k; exp(r), |r| < .35, is
    its Taylor polynomial. `scratch` has at least the length of x.
    """
    n = x.shape[0]
    rounded = scratch[:n]
    for g in range(n):
        v = max(x[g] - top, -700.0)
        rounded[g] = v * _PER_LOG_2 + _ROUND
        k = rounded[g] - _ROUND
        r = (v - k * _LOG_2_HIGH) - k * _LOG_2_LOW
        p = (1 / 479001600) * r + 1 / 39916800
        p = ((p * r + 1 / 3628800) * r + 1 / 362880) * r + 1 / 40320
        p = ((p * r + 1 / 5040) * r + 1 / 720) * r + 1 / 120
        x[g] = (((p * r + 1 / 24) * r + 1 / 6) * r + 0.5) * r * r + r + 1.0
    bits = rounded.view(np.int64)
    for g in range(n):
        bits[g] = (bits[g] + 1023) << 52
    for g in range(n):
        x[g] *= rounded[g]


@compiled()
def exponentials(x: Floats, top: float) -> Floats:
    """Vector exp(x - top), as `exponentials_in_place`."""
    out = x.copy()
    exponentials_in_place(out, top, np.empty(x.shape[0]))
    return out


@compiled(sums=frozenset({"contract"}))
def logarithms(x: Floats) -> Floats:
    """Vector log x for positive normal numbers, to 2e-16 of the larger of 1 and |log x|.

    x = 2^k m with m between sqrt(1/2) and sqrt 2; log m = 2 artanh t, t = (m - 1) / (m + 1), by its
    Taylor series in t^2 < .03.
    """
    n = x.shape[0]
    out, mantissa, exponent = np.empty(n), np.empty(n), np.empty(n)
    bits, mantissa_bits = x.view(np.int64), mantissa.view(np.int64)
    for g in range(n):
        mantissa_bits[g] = (bits[g] & _MANTISSA) | _HALF_BITS
        exponent[g] = (bits[g] >> 52) - 1022
    for g in range(n):
        small = mantissa[g] < _SQRT_HALF
        m = mantissa[g] * 2 if small else mantissa[g]
        k = exponent[g] - 1 if small else exponent[g]
        t = (m - 1) / (m + 1)
        s = t * t
        p = (((1 / 23) * s + 1 / 21) * s + 1 / 19) * s + 1 / 17
        p = (((p * s + 1 / 15) * s + 1 / 13) * s + 1 / 11) * s + 1 / 9
        p = ((p * s + 1 / 7) * s + 1 / 5) * s + 1 / 3
        out[g] = k * _LOG_2_HIGH + (2 * t + (2 * t * s * p + k * _LOG_2_LOW))
    return out


@compiled()
def half_normal_quantile(z: float) -> float:
    """Quantile of the standard half-normal at Phi(z), to 1e-15.

    The normal quantile at (1 + Phi(z)) / 2 by the rational functions of Wichura (1988, AS 241).
    """
    upper = 0.25 * math.erfc(z / math.sqrt(2.0))
    if upper >= 0.075:
        q = 0.25 * math.erfc(-z / math.sqrt(2.0))
        r = 0.180625 - q * q
        top = ((2509.0809287301226727 * r + 33430.575583588128105) * r + 67265.770927008700853) * r
        top = ((top + 45921.953931549871457) * r + 13731.693765509461125) * r
        top = ((top + 1971.5909503065514427) * r + 133.14166789178437745) * r
        low = ((5226.495278852854561 * r + 28729.085735721942674) * r + 39307.89580009271061) * r
        low = ((low + 21213.794301586595867) * r + 5394.1960214247511077) * r
        low = ((low + 687.1870074920579083) * r + 42.313330701600911252) * r
        return q * (top + 3.387132872796366608) / (low + 1.0)
    r = math.sqrt(-math.log(upper))
    if r <= 5.0:
        r -= 1.6
        top = (7.7454501427834140764e-4 * r + 0.0227238449892691845833) * r + 0.24178072517745061177
        top = ((top * r + 1.27045825245236838258) * r + 3.64784832476320460504) * r
        top = ((top + 5.7694972214606914055) * r + 4.6303378461565452959) * r
        low = (
            1.05075007164441684324e-9 * r + 5.475938084995344946e-4
        ) * r + 0.0151986665636164571966
        low = ((low * r + 0.14810397642748007459) * r + 0.68976733498510000455) * r
        low = ((low + 1.6763848301838038494) * r + 2.05319162663775882187) * r
        return (top + 1.42343711074968357734) / (low + 1.0)
    r -= 5.0
    top = (2.01033439929228813265e-7 * r + 2.71155556874348757815e-5) * r + 0.0012426609473880784386
    top = ((top * r + 0.026532189526576123093) * r + 0.29656057182850489123) * r
    top = ((top + 1.7848265399172913358) * r + 5.4637849111641143699) * r
    low = (2.04426310338993978564e-15 * r + 1.4215117583164458887e-7) * r + 1.8463183175100546818e-5
    low = ((low * r + 7.868691311456132591e-4) * r + 0.0148753612908506148525) * r
    low = ((low + 0.13692988092273580531) * r + 0.59983220655588793769) * r
    return (top + 6.6579046435011037772) / (low + 1.0)
