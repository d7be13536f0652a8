"""A model and a text so small that a run takes a second."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from deepseek.data.packed.field import Field
from deepseek.data.packed.writer import PackedWriter
from deepseek.training.config import OptimizerConfig, ScheduleConfig, TrainConfig
from deepseek.training.metrics import read_metrics

Make = Callable[..., TrainConfig]

TINY = {
    "model_type": "gpt2",
    "n_layer": 4,
    "n_embd": 16,
    "n_head": 2,
    "n_positions": 16,
    "vocab_size": 40,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
    "bos_token_id": None,
    "eos_token_id": None,
    "tie_word_embeddings": False,
}


@pytest.fixture(autouse=True)
def _few_threads_and_own_cache(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("DEEPSEEK_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed set of 60 records of 16 tokens in which each token follows from the last."""
    dest = tmp_path_factory.mktemp("data") / "tokens"
    with PackedWriter(dest, [Field("tokens", "int32", (16,))]) as writer:
        for record in range(60):
            step = record % 5 + 1
            writer.write({"tokens": [(record + step * place) % 40 for place in range(16)]})
    return dest


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a GPT of four blocks, as a file."""
    path = tmp_path_factory.mktemp("model") / "tiny.json"
    path.write_text(json.dumps(TINY))
    return path


@pytest.fixture
def tiny(tmp_path: Path, tokens: Path, tiny_model: Path) -> Make:
    """Makes the configuration of a run of 6 steps; anything can be given another value."""

    def make(**changes: Any) -> TrainConfig:
        values: dict[str, Any] = {
            "model": str(tiny_model),
            "data": str(tokens),
            "sequence_length": 16,
            "output": tmp_path / "run",
            "steps": 6,
            "batch_size": 8,
            "eval_every": 0,
            "checkpoint_every": 0,
            "optimizer": OptimizerConfig(lr=0.01),
            "schedule": ScheduleConfig(name="constant", warmup=0.0),
        }
        return TrainConfig(**values | changes)

    return make


@pytest.fixture
def losses() -> Callable[[Path], list[float]]:
    """Gives the losses of a run, exactly, in order of the steps."""
    return _losses


def _losses(run: Path) -> list[float]:
    rows = [row for row in read_metrics(run / "metrics.jsonl") if row["kind"] == "train"]
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
    return [row["loss"] for row in rows]
