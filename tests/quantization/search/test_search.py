"""The search on made-up models whose losses are known."""

from dataclasses import dataclass, field

import pytest

from deepseek.quantization.quality import Quality
from deepseek.quantization.search.clock import Clock
from deepseek.quantization.search.search import find_kept, is_within
from deepseek.quantization.search.sensitivity import Sensitivity
from deepseek.quantization.search.state import Trial
from deepseek.quantization.statistics import Interval

FOREVER = Clock(None)


@dataclass
class Made:
    """Units with a loss each; together they lose the sum."""

    losses: dict[str, float]
    budget: float
    asked: list[frozenset[str]] = field(default_factory=list)

    def measure(self, kept):
        self.asked.append(kept)
        drop = sum(loss for name, loss in self.losses.items() if name not in kept)
        return Trial(kept=tuple(kept), drop=drop, low=drop, high=drop, within=drop <= self.budget,
                     size=0, seconds=0.0)  # fmt: skip

    def ranking(self, seen=None):
        seen = seen or self.losses
        return [
            Sensitivity(name=name, layers=(name,), distance=distance, changed=None,
                        bytes_saved=100, records=1)
            for name, distance in sorted(seen.items(), key=lambda item: -item[1])
        ]  # fmt: skip


def losses(**bad):
    return {f"u{number}": 0.0001 for number in range(30)} | bad


def test_only_the_bad_unit_returns():
    made = Made(losses(u7=1.0), budget=0.005)
    found = find_kept((), made.ranking(), made.measure, FOREVER)
    assert found.kept == {"u7"}
    assert found.stopped == "found"
    assert len(made.asked) <= 6  # halving, not one by one


def test_as_many_return_as_it_takes():
    made = Made(losses(u3=0.02, u8=0.01, u9=0.03), budget=0.013)
    assert find_kept((), made.ranking(), made.measure, FOREVER).kept == {"u3", "u9"}


def test_what_returned_in_vain_is_quantized_again():
    """By itself u5 looked bad; together with the others it costs nothing."""
    made = Made(losses(u3=1.0), budget=0.005)
    seen = losses(u5=2.0, u3=1.0, u6=1.5)
    assert find_kept((), made.ranking(seen), made.measure, FOREVER).kept == {"u3"}


def test_large_units_return_last():
    """Half the distance for a hundredth of the bytes buys more."""
    made = Made({"large": 0.02, "small": 0.01, "other": 0.0}, budget=0.021)
    ranking = [
        Sensitivity(name=name, layers=(name,), distance=distance, changed=None, bytes_saved=size,
                    records=1)
        for name, distance, size in [("large", 2, 10_000), ("small", 1, 100), ("other", 0, 100)]
    ]  # fmt: skip
    assert find_kept((), ranking, made.measure, FOREVER).kept == {"small"}


def test_units_that_must_stay_do():
    made = Made(losses(u7=1.0), budget=0.005)
    found = find_kept({"u1", "u2"}, made.ranking(), made.measure, FOREVER)
    assert found.kept == {"u1", "u2", "u7"}


def test_no_model_keeps_within():
    made = Made(dict.fromkeys("abcd", 0.1), budget=0.005)
    found = find_kept((), made.ranking(), made.measure, FOREVER)
    assert found.stopped == "none"
    assert len(found.kept) == 3  # the model that lost least, with one unit quantized


def test_when_the_time_is_over_the_best_so_far_is_kept():
    class Watch(Clock):
        looks = 0

        def over(self, share=1.0):
            self.looks += 1
            return self.looks > 3

    made = Made(losses(u3=0.02, u8=0.01, u9=0.03), budget=0.013)
    found = find_kept((), made.ranking(), made.measure, Watch(1.0))
    assert found.stopped == "time"
    assert {"u3", "u9"} <= found.kept
    assert len(made.asked) <= 5


def quality(drop, high, n, max_drop=0.005):
    return Quality(
        metric="accuracy", n=n, before=1, after=1 - drop, drop=drop,
        drop_interval=Interval(-high, high), agreement=None, agreement_interval=None, lowest=None,
        max_drop=max_drop, records_needed=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("drop", "high", "n", "within"),
    [
        (0.001, 0.003, 2500, True),
        (0.001, 0.0045, 2500, False),  # on the edge: other data would say otherwise
        (0.001, 0.006, 2500, False),
        (0.0, 0.00496, 770, True),  # as good as can be shown with so few
        (0.001, 0.05, 100, True),  # too few to show anything: the drop itself
        (0.0045, 0.05, 100, False),
        (0.0, 0.01, 100, True),
    ],
)
def test_worth_a_verdict(drop, high, n, within):
    assert is_within(quality(drop, high, n)) is within
