"""However a model is laid out, its losses and gradient norms are those of one process."""

import pytest
import ranks
from cases import FOUR_CASES, MATRIX, PAIR_CASES, STRATEGIES, Case
from tiny import alone

from deepseek.distributed import launch

TOLERANCE = 1e-6


def check(case: Case, result: object) -> None:
    assert isinstance(result, tuple), result
    for found, wanted in zip(result, alone(case.model), strict=True):
        assert found == pytest.approx(wanted, rel=0, abs=TOLERANCE)


def test_what_everything_is_compared_with_learns_and_clips() -> None:
    for model in ("gpt", "bert"):
        losses, norms = alone(model)
        assert losses[-1] < losses[0]
        assert max(norms) > 0.5


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_process_needs_no_group(strategy: str) -> None:
    case = Case("gpt", strategy)
    check(case, ranks.train(case))


@pytest.mark.parametrize("case", PAIR_CASES, ids=str)
def test_two_processes(pair: dict[str, object], case: Case) -> None:
    check(case, pair[str(case)])


@pytest.mark.parametrize("case", FOUR_CASES, ids=str)
def test_four_processes(four: dict[str, object], case: Case) -> None:
    check(case, four[str(case)])


@pytest.mark.slow
def test_every_strategy_with_every_schedule_on_four_processes() -> None:
    jobs = {str(case): ranks.partial(ranks.train, case) for case in MATRIX}
    results = launch(ranks.run_jobs, jobs, nproc=4)
    for case in MATRIX:
        check(case, results[str(case)])
