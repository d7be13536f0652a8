"""Row kernels have no use for products of integers, in which some targets alone differ."""

import pytest


@pytest.fixture
def target(vector_target):
    """Every kind of vectors that this machine can run."""
    return vector_target
