from collections.abc import Callable
from typing import Any

import pytest

from deepseek.health.checks import CHECKS
from deepseek.health.machine import Machine
from deepseek.health.programs import Ran

Fake = Callable[..., Machine]
Answer = Callable[..., dict[str, Any]]
GLOO = next(check for check in CHECKS if check.id == "gloo")


def test_an_all_reduce_that_worked(fake: Fake, torch_answer: Answer) -> None:
    seen = GLOO.look(fake({}, torch_answer(gloo={"seconds": 0.002, "bytes": 16384})))
    assert (seen.value, seen.found) == (True, "two processes added up 16.4 kB in 2.0 ms")


@pytest.mark.parametrize("error", ["no answer within 5 s", "RuntimeError: bind:\nin use"])
def test_an_all_reduce_that_failed(fake: Fake, torch_answer: Answer, error: str) -> None:
    seen = GLOO.look(fake({}, torch_answer(gloo={"error": error})))
    assert seen.value is False
    assert seen.found == " ".join(error.split())
    assert "lo up" in seen.fix


def test_a_torch_without_gloo(fake: Fake, torch_answer: Answer) -> None:
    seen = GLOO.look(fake({}, torch_answer(gloo=None)))
    assert (seen.value, seen.broken) == (None, False)


def test_without_torch_it_is_pointless(fake: Fake, torch_answer: Answer) -> None:
    (is_pointless,) = GLOO.pointless
    assert is_pointless(fake()) == "torch does not import"
    slow = {"torch_facts": Ran(code=None, overdue=True)}
    assert is_pointless(fake({}, slow)) == "torch does not answer in time"
    assert is_pointless(fake({}, torch_answer())) is None
