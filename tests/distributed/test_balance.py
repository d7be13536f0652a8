"""Unequal shares of a batch: whole, fair, and with the gradient of the batch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import alone

from deepseek.distributed import Layout, Mesh
from deepseek.distributed.balance import Balancer, apportion
from deepseek.errors import InputError


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=8), st.integers(0, 60))
def test_shares_are_whole_at_least_one_and_nearly_in_proportion(
    rates: list[float], spare: int
) -> None:
    total = len(rates) + spare
    shares = apportion(total, rates)
    assert sum(shares) == total
    assert min(shares) >= 1
    exact = [total * rate / sum(rates) for rate in rates]
    if min(exact) >= 1:
        assert max(abs(a - b) for a, b in zip(shares, exact, strict=True)) < 1 + 1e-9


def test_known_shares() -> None:
    assert apportion(8, [1, 1, 1, 1]) == (2, 2, 2, 2)
    assert apportion(8, [1, 2, 2, 3]) == (1, 2, 2, 3)
    assert apportion(4, [1, 1, 1, 97]) == (1, 1, 1, 1)
    assert apportion(4, [3, 1]) == (3, 1)


def test_too_few_micro_batches_are_refused() -> None:
    with pytest.raises(InputError, match="each of 3 processes, got 2"):
        apportion(2, [1, 1, 1])


def test_what_needs_equal_passes_is_refused() -> None:
    mesh = Mesh.of(Layout())
    with pytest.raises(InputError, match="in one stage to balance, got full"):
        Balancer(4, mesh, strategy="full")
    with pytest.raises(InputError, match="got a pipeline"):
        Balancer(4, Mesh(Layout(stages=2), None))


def test_one_process_keeps_everything() -> None:
    balancer = Balancer(4, Mesh.of(Layout()), every=1)
    assert not balancer.observe(4, 1.0)
    assert (balancer.own, balancer.loss_scale) == (range(4), 0.25)


@pytest.mark.parametrize("strategy", ["none", "gradient"])
def test_a_slow_process_gets_less_and_losses_stay(pair: dict[str, object], strategy: str) -> None:
    found = pair[f"balance {strategy}"]
    assert isinstance(found, dict), found
    assert found["shares"] == [(2, 2), (2, 2), (3, 1), (3, 1), (3, 1), (3, 1)]
    assert found["losses"] == pytest.approx(alone("gpt")[0], rel=0, abs=1e-6)
