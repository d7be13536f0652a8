"""Where a model is cut: the dearest stage is as cheap as it can be."""

from itertools import combinations, pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import TOKENS, VOCABULARY, WIDTH, TinyGpt
from torch import Tensor, nn

from deepseek.distributed import Costs, estimate_costs, measure_costs
from deepseek.distributed.costs import balance


def dearest(costs: Costs, sizes: tuple[int, ...]) -> float:
    each = list(costs.blocks)
    each[0] += costs.entrance
    each[-1] += costs.exit
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return max(sum(each[a:b]) for a, b in pairwise([0, *ends]))


@given(
    st.lists(st.floats(0.1, 10), min_size=1, max_size=7),
    st.floats(0, 20),
    st.floats(0, 20),
    st.data(),
)
def test_no_other_cut_is_better(
    blocks: list[float], entrance: float, exit_: float, data: st.DataObject
) -> None:
    stages = data.draw(st.integers(1, len(blocks)))
    costs = Costs(entrance, tuple(blocks), exit_)
    sizes = tuple(balance(costs, stages))
    assert len(sizes) == stages
    assert sum(sizes) == len(blocks)
    assert min(sizes) >= 1
    every = [
        tuple(b - a for a, b in pairwise([0, *cuts, len(blocks)]))
        for cuts in combinations(range(1, len(blocks)), stages - 1)
    ]
    best = min(dearest(costs, cut) for cut in every)
    assert dearest(costs, sizes) == pytest.approx(best)


def test_a_dear_exit_gets_company_last() -> None:
    assert balance(Costs(0, (1, 1, 1, 1, 1, 1), 2.5), 2) == [4, 2]
    assert balance(Costs(2.5, (1, 1, 1, 1, 1, 1), 0), 2) == [2, 4]


def test_estimates_count_weights_that_are_multiplied_with() -> None:
    costs = estimate_costs(TinyGpt(depth=3))
    assert costs.entrance == 0
    assert costs.exit == VOCABULARY * WIDTH
    assert costs.blocks == (12 * WIDTH**2,) * 3


class Repeating(nn.Linear):
    """Multiplies as often as it is told."""

    def __init__(self, times: int) -> None:
        super().__init__(64, 64, bias=False)
        self.times = times

    def forward(self, hidden: Tensor) -> Tensor:
        for _ in range(self.times):
            hidden = super().forward(hidden)
        return hidden


class Uneven(nn.Module):
    """The third block does forty times the work."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 64)
        self.blocks = nn.ModuleList(Repeating(times) for times in (1, 1, 40, 1))
        self.head = nn.Linear(64, 11)

    def forward(self, input_ids: Tensor) -> Tensor:
        hidden = self.embed(input_ids)
        for block in self.blocks:
            hidden = block(hidden)
        return self.head(hidden)


def test_measured_costs_find_the_slow_block_and_leave_no_trace() -> None:
    model, before = Uneven(), torch.random.get_rng_state()
    costs = measure_costs(model, {"input_ids": torch.zeros(16, 64, dtype=torch.long)})
    assert len(costs.blocks) == 4
    assert costs.blocks[2] > 5 * max(costs.blocks[i] for i in (0, 1, 3))
    assert all(cost > 0 for cost in (costs.entrance, *costs.blocks, costs.exit))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not any(block._forward_hooks for block in model.blocks)


def test_a_group_agrees_on_what_was_measured(pair: dict[str, object]) -> None:
    first, second = pair["costs"]
    assert first == second
    assert len(first.blocks) == 4


def test_shapes_of_the_tiny_model_are_what_the_tests_say() -> None:
    assert TinyGpt()(torch.zeros(2, TOKENS, dtype=torch.long)).shape == (2, TOKENS, VOCABULARY)
