"""Launches recorded once and started again, on as many threads as torch has then."""

import numpy as np
import pytest
import torch

from deepseek.kernels import jit, parallel
from deepseek.kernels.emit import I64, Arguments, Module
from deepseek.kernels.replay import Replay

ARGUMENTS = Arguments(counts="pointer", more="int")


def build_add(target):
    """counts[unit] += more"""
    module = Module("test_add", target)
    with module.task(ARGUMENTS) as f:
        a = f.arguments
        counts = f.array(a.counts, I64)
        for unit in f.range(f.begin, f.end):
            counts.store(counts.scalar(unit) + a.more, unit)
    return module


@pytest.mark.parametrize("recorded_on", [1, 2, 3])
def test_starts_its_launches_again_on_any_number_of_threads(threads, recorded_on):
    counts = np.zeros(101, np.int64)
    kernel = jit.kernel(build_add)
    launches = []
    torch.set_num_threads(recorded_on)
    with parallel.listening(launches.append):
        for more in (1, 10, 100):
            arguments = ARGUMENTS.pack(counts.ctypes.data, more)
            parallel.run(kernel, arguments, units=101, chunk=2 + more % 3)
    assert (counts == 111).all()
    replay = Replay(launches)
    torch.set_num_threads(threads)
    for _ in range(5):
        replay.run(0, 3)
    assert (counts == 6 * 111).all()
    replay.run(1, 2)
    assert (counts == 6 * 111 + 10).all()
