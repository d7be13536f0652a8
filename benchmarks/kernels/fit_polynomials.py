"""Fit the polynomials behind the vector math of ``deepseek.kernels.emit.math``.

Each fit is a least-squares fit on Chebyshev nodes whose weights are raised where the error is
largest until the error is level (iteratively reweighted towards the minimax polynomial). Prints
one line a function: its coefficients, lowest power first, and the largest error of the fit in
float64. Rounding to float32 adds to that; the tests state the final error of each function.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]


def nodes(low: float, high: float, count: int = 6001) -> Samples:
    """Chebyshev nodes of [low, high]; an even count would miss nothing but the middle."""
    angles = (np.arange(count) + 0.5) * np.pi / count
    return low + (high - low) * (np.cos(angles) + 1) / 2


def level_fit(
    x: Samples, target: Samples, tolerance: Samples, degree: int, rounds: int = 300
) -> tuple[Samples, float]:
    """Polynomial p of ``degree`` with the smallest largest |p(x) - target| * tolerance."""
    low, high = x.min(), x.max()
    basis = np.polynomial.chebyshev.chebvander((2 * x - low - high) / (high - low), degree)
    weight = tolerance.copy()
    best: tuple[Samples, float] = (np.zeros(degree + 1), math.inf)
    for _ in range(rounds):
        fit = np.linalg.lstsq(basis * weight[:, None], target * weight, rcond=None)[0]
        error = np.abs(basis @ fit - target) * tolerance
        if error.max() < best[1]:
            best = (fit, float(error.max()))
        weight = weight * (0.3 + error / error.max()) ** 0.25
        weight /= weight.max()
    series = np.polynomial.Chebyshev(best[0], domain=[low, high])
    return series.convert(kind=np.polynomial.Polynomial).coef, best[1]


def over(function: Callable[[float], float], x: Samples) -> Samples:
    """``function`` of :mod:`math` applied to every sample."""
    return np.array([function(float(value)) for value in x])


def fit_exp(degree: int) -> tuple[Samples, float]:
    """Fit q with e^r = 1 + r + r^2 q(r) for |r| <= ln(2) / 2, relative error."""
    x = nodes(-math.log(2) / 2, math.log(2) / 2, 6000)
    return level_fit(x, (np.expm1(x) - x) / x**2, x**2 / np.exp(x), degree - 2)


def fit_exp2(degree: int) -> tuple[Samples, float]:
    """Fit q with 2^r = 1 + r q(r) for |r| <= 1/2, relative error."""
    x = nodes(-0.5, 0.5, 6000)
    return level_fit(x, np.expm1(x * math.log(2)) / x, np.abs(x) / np.exp2(x), degree - 1)


def fit_erf(degree: int, reach: float = 4.0) -> tuple[Samples, float]:
    """Fit q with erf(x) = 1 - 2^(x q(x)) for 0 < x <= reach, absolute error."""
    x = nodes(0.0, reach)
    complement = over(math.erfc, x)
    return level_fit(x, np.log2(complement) / x, complement * x * math.log(2), degree - 1)


def fit_log(degree: int) -> tuple[Samples, float]:
    """Fit q with log(1 + f) = f - f^2 / 2 + f^3 q(f) for 1 + f in [sqrt(1/2), sqrt(2)]."""
    x = nodes(math.sqrt(0.5) - 1, math.sqrt(2) - 1, 6000)
    exact = np.log1p(x)
    return level_fit(x, (exact - x + x**2 / 2) / x**3, np.abs(x**3 / exact), degree - 3)


def fit_tanh(degree: int, reach: float = 0.625) -> tuple[Samples, float]:
    """Fit q with tanh(x) = x + x^3 q(x^2) for |x| <= reach, relative error; degree of q."""
    square = nodes(0.0, reach**2)
    x = np.sqrt(square)
    exact = np.tanh(x)
    return level_fit(square, (exact - x) / x**3, x**3 / exact, degree)


def fit_gate(
    odd: Callable[[float], float], degree: int = 8, reach: float = 4.2
) -> tuple[Samples, float]:
    """Fit q with odd(x) = 2 x q(x^2) for |x| <= reach, error of x (1 + odd(x)) / 2."""
    square = nodes(0.0, reach**2)
    x = np.sqrt(square)
    return level_fit(square, over(odd, x) / (2 * x), x**2, degree)


FITS = {
    "EXP": lambda: fit_exp(6),
    "EXP2": lambda: fit_exp2(6),
    "EXP2_SHORT": lambda: fit_exp2(5),
    "EXP2_COARSE": lambda: fit_exp2(3),
    "ERF": lambda: fit_erf(8),
    "LOG": lambda: fit_log(10),
    "TANH": lambda: fit_tanh(4),
    "GELU_COARSE": lambda: fit_gate(lambda x: math.erf(x / math.sqrt(2))),
    "GELU_TANH_COARSE": lambda: fit_gate(
        lambda x: math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
    ),
}


if __name__ == "__main__":
    for name, fit in FITS.items():
        coefficients, error = fit()
        print(f"{name} = ({', '.join(repr(float(c)) for c in coefficients)})  # {error:.1e}")
