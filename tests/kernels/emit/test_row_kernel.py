"""The softmax of the package's docstring: that it is right as it stands there."""

import textwrap
from math import inf

import numpy as np
import pytest

from deepseek.kernels import emit, jit, parallel
from deepseek.kernels.emit import Arguments, Module, math


def softmax_of_the_docstring():
    """ARGUMENTS and build_softmax, out of the documentation."""
    block = emit.__doc__.split("whole::\n")[1].split("\n\nPython's")[0]
    names = {"Arguments": Arguments, "Module": Module, "math": math, "inf": inf}
    exec(textwrap.dedent(block), names)
    return names["ARGUMENTS"], names["build_softmax"]


@pytest.mark.parametrize("columns", [1, 7, 8, 9, 31, 33, 47, 48, 49, 100, 257])
def test_softmax(target, threads, columns):
    arguments, build = softmax_of_the_docstring()
    x = np.random.default_rng(0).standard_normal((13, columns)).astype(np.float32) * 10
    x[5, 0] = -inf if columns > 1 else 0.0
    out = np.empty_like(x)
    kernel = jit.compile_module(build(target))
    parallel.run(kernel, arguments.pack(x.ctypes.data, out.ctypes.data, columns), 13)
    wide = np.exp(x.astype(np.float64) - x.max(axis=1, keepdims=True))
    np.testing.assert_allclose(out, wide / wide.sum(axis=1, keepdims=True), atol=2e-7)
