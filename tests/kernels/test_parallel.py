"""The parallel-for: every unit once, under threads, forks and torch's own regions."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from deepseek.kernels import jit, parallel
from deepseek.kernels.emit import I64, Arguments, Module

ARGUMENTS = Arguments(counts="pointer")


def build_count(target):
    """counts[unit] += 1"""
    module = Module("test_count", target)
    with module.task(ARGUMENTS) as f:
        counts = f.array(f.arguments.counts, I64)
        for unit in f.range(f.begin, f.end):
            counts.store(counts.scalar(unit) + 1, unit)
    return module


def count(units, chunk=1):
    counts = np.zeros(units + 8, np.int64)
    kernel = jit.kernel(build_count)
    parallel.run(kernel, ARGUMENTS.pack(counts.ctypes.data), units, chunk)
    assert (counts[units:] == 0).all()
    return counts[:units]


@pytest.mark.parametrize("units", [0, 1, 2, 3, 7, 100, 1001])
@pytest.mark.parametrize("chunk", [1, 2, 3, 64])
def test_each_unit_once(threads, units, chunk):
    assert (count(units, chunk) == 1).all()


@pytest.mark.parametrize("own_pool", [False, True])
def test_four_python_threads(threads, own_pool, monkeypatch):
    if own_pool:
        fork_join = _own_fork_join()
        monkeypatch.setattr(parallel, "_fork_join", lambda: fork_join)
    wrong = []

    def work():
        torch.set_num_threads(threads)
        wrong.extend(call for call in range(250) if not (count(50) == 1).all())

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not any(worker.is_alive() for worker in workers)
    assert wrong == []


def _own_fork_join():
    from deepseek.kernels.target import host

    worker = jit.compile_text("deepseek_worker", parallel.worker_text(), host())
    return parallel._own_pool(worker.address)


def test_between_regions_of_torch(threads):
    a = torch.randn(200, 200)
    for _ in range(20):
        assert (count(100) == 1).all()
        a @ a
        torch.zeros(100_000).add_(1)


def test_finds_the_openmp_that_torch_runs_on():
    if "OpenMP" in torch.__config__.parallel_info() and Path("/proc/self/maps").exists():
        assert parallel._torch_gomp().name.startswith("libgomp")


def test_number_of_threads_is_that_of_torch(threads):
    assert parallel.threads() == threads


def build_spin(target):
    """counts[0] += 1, once a unit"""
    module = Module("test_spin", target)
    with module.task(ARGUMENTS) as f:
        counts = f.array(f.arguments.counts, I64)
        for _ in f.range(f.begin, f.end):
            counts.store(counts.scalar() + 1)
    return module


def test_gil_is_free_during_a_kernel():
    counts = np.zeros(1, np.int64)
    kernel = jit.kernel(build_spin)
    arguments = ARGUMENTS.pack(counts.ctypes.data)
    worker = threading.Thread(target=kernel.call, args=(arguments, 0, 300_000_000))
    worker.start()
    seen = set()
    while worker.is_alive():
        seen.add(int(counts[0]))
    assert len(seen) > 2  # more than the first and the last value
    assert counts[0] == 300_000_000


def test_after_fork(threads):
    assert (count(100) == 1).all()  # the pool exists before the fork
    child = os.fork()
    if child == 0:
        fine = parallel.threads() == 1 and bool((count(100) == 1).all())
        os._exit(0 if fine else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert (count(100) == 1).all()
