"""Which models, strategies and schedules are trained."""

from dataclasses import dataclass

from deepseek.distributed import Schedule, Strategy, Wire
from deepseek.distributed.schedules import SCHEDULES

STRATEGIES: tuple[Strategy, ...] = ("none", "optimizer", "gradient", "full", "hybrid")
LOOPED = ("interleaved", "bfs", "interleaved_zero_bubble")


@dataclass(frozen=True)
class Case:
    model: str
    strategy: Strategy = "none"
    stages: int = 1
    schedule: Schedule = "interleaved"
    chunks: int = 1
    wire: Wire = "fp32"
    accumulate: int = 1

    def __str__(self) -> str:
        parts = [self.model, self.strategy, f"{self.stages} stages", self.schedule]
        parts += [f"{self.chunks} chunks"] * (self.chunks > 1) + [self.wire] * (self.wire != "fp32")
        return " ".join(parts + [f"accumulate {self.accumulate}"] * (self.accumulate > 1))


# Every strategy and every schedule once with two processes, the compositions with four; the whole
# product is MATRIX, which takes minutes.
PAIR_CASES = [
    *(Case(model, strategy) for model in ("gpt", "bert") for strategy in STRATEGIES),
    *(Case("gpt", "none", 2, schedule) for schedule in SCHEDULES),
    *(Case("gpt", "none", 2, schedule, 2) for schedule in LOOPED),
    *(Case("bert", "none", 2, schedule) for schedule in ("interleaved", "zbv")),
    *(Case("gpt", strategy, accumulate=2) for strategy in STRATEGIES),
]
FOUR_CASES = [
    Case("gpt", "none", 4),
    Case("gpt", "hybrid"),
    Case("bert", "gradient", 2),
    Case("gpt", "gradient", 2, "1f1b"),
    Case("gpt", "optimizer", 2, "gpipe"),
    Case("gpt", "full", 2, "zbv"),
    Case("bert", "hybrid", 2, "interleaved_zero_bubble"),
]
MATRIX = [
    *(Case(m, s) for m in ("gpt", "bert") for s in STRATEGIES),
    *(
        Case(m, "none", 4, k)
        for m in ("gpt", "bert")
        for k in SCHEDULES
        if not SCHEDULES[k].v_shaped
    ),
    *(Case(m, s, 2, k) for m in ("gpt", "bert") for s in STRATEGIES for k in SCHEDULES),
    *(Case(m, s, 2, k, 2) for m in ("gpt", "bert") for s in STRATEGIES for k in LOOPED),
]

SAVED_BY = (Case("gpt", "optimizer"), Case("gpt", "none", 2, "zbv"))
LOADED_BY = (Case("gpt", "gradient"), *SAVED_BY)
