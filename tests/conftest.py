"""What all tests share."""

import os

import pytest


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    """Kernels compiled by the tests are kept for the tests' processes alone, and no graphs."""
    os.environ["DEEPSEEK_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["DEEPSEEK_KEEP_GRAPHS"] = "0"
    os.environ.pop("DEEPSEEK_TARGET", None)
    os.environ.pop("DEEPSEEK_DUMP_IR", None)
    yield
    del os.environ["DEEPSEEK_CACHE"], os.environ["DEEPSEEK_KEEP_GRAPHS"]
