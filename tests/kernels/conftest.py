"""Targets under test, and a cache of their own for the tests."""

import os

import pytest
import torch

from deepseek.errors import InputError
from deepseek.kernels.target import KNOWN, Target, host, runs_here

RUNNABLE = [target for target in KNOWN.values() if runs_here(target)]


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    """Kernels compiled by the tests are kept for the tests' processes alone."""
    os.environ["DEEPSEEK_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ.pop("DEEPSEEK_TARGET", None)
    os.environ.pop("DEEPSEEK_DUMP_IR", None)
    yield
    del os.environ["DEEPSEEK_CACHE"]


@pytest.fixture(params=[host(), *RUNNABLE], ids=lambda target: target.name)
def target(request) -> Target:
    """Every target that this machine can run."""
    return request.param


@pytest.fixture(params=[1, 2], ids=["1 thread", "2 threads"])
def threads(request):
    """Both numbers of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture
def error():
    """The type of every error that a user can cause."""
    return InputError
