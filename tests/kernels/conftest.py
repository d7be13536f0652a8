"""Targets and threads under test."""

import threading

import pytest
import torch

from deepseek.errors import InputError
from deepseek.kernels.target import KNOWN, Target, host, runs_here

RUNNABLE = [host(), *(target for target in KNOWN.values() if runs_here(target))]
VECTORS = ("architecture", "vector_bytes", "registers", "fma", "rounding", "avx2", "bf16")
PRODUCTS = ("vnni", "amx", "dotprod", "i8mm")


def once(targets, traits):
    """All targets as parameters; one that has the traits of an earlier one is left to slow runs."""
    seen, parameters = set(), []
    for target in targets:
        key = tuple(getattr(target, trait) for trait in traits)
        marks = [pytest.mark.slow] if key in seen else []
        parameters.append(pytest.param(target, id=target.name, marks=marks))
        seen.add(key)
    return parameters


@pytest.fixture(params=once(RUNNABLE, VECTORS + PRODUCTS))
def target(request) -> Target:
    """Every target that this machine can run."""
    return request.param


@pytest.fixture(params=once(RUNNABLE, VECTORS))
def vector_target(request) -> Target:
    """The same for kernels that have no use for products of integers."""
    return request.param


@pytest.fixture(params=once(KNOWN.values(), VECTORS + PRODUCTS))
def known(request) -> Target:
    """Every target there is, for code that is compiled and not run."""
    return request.param


@pytest.fixture(params=[1, 2], ids=["1 thread", "2 threads"])
def threads(request):
    """Both numbers of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture
def wrong_calls(threads):
    """Four Python threads call a function so many times each; returns the calls that went wrong."""

    def run(calls, compute, expected):
        wrong = []

        def work():
            torch.set_num_threads(threads)
            wrong.extend(call for call in range(calls) if not torch.equal(compute(), expected))

        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(100)
        assert not any(worker.is_alive() for worker in workers)
        return wrong

    return run


@pytest.fixture
def error():
    """The type of every error that a user can cause."""
    return InputError
