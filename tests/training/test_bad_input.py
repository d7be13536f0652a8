"""What cannot be trained is refused in one line, before anything is written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepseek.errors import InputError
from deepseek.training.config import OptimizerConfig, TrainConfig
from deepseek.training.train import train

Make = Callable[..., TrainConfig]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "/no/such/file"}, "found nothing at /no/such/file"),
        ({"model": "gtp2"}, "'gtp2' is no path, preset or model type"),
        ({"model": "no.such.module:Model"}, "No module named"),
        ({"model_options": ("n_heads=2",)}, "has no 'n_heads'"),
        ({"model_options": ("n_embd=15", "n_head=2")}, "cannot build the model tiny"),
        (
            {"model": "gpt_neox", "model_options": ("hidden_size=30", "num_attention_heads=4")},
            "attention heads that divide its width, got 4 heads and a width of 30",
        ),
        ({"model_options": ("n_positions=8",)}, "at most 8 tokens, as tiny has positions, got 16"),
        ({"pipeline_stages": 5, "batch_size": 20}, "at most 4"),
        ({"pipeline_stages": 4, "batch_size": 2}, "at least 4 rows"),
        ({"nproc": 3, "batch_size": 8}, "divides over the 3 processes"),
        ({"nproc": 3, "pipeline_stages": 2}, "that the pipeline stages divide"),
        ({"accumulate": 1, "pipeline_stages": 2}, "micro-batches"),
        ({"accumulate": 16}, "one record for each of 16 micro-batches"),
        ({"task": "masked_lm"}, "mask token"),
        ({"task": "sequence_classification"}, "expected the field label"),
        ({"tokenizer": "/no/tokenizer", "data": "topics"}, "expected a tokenizer in /no/tokenizer"),
        ({"device": "cuda"}, "expected a GPU"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_is_refused_in_one_line(
    tiny: Make, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as refused:
        train(tiny(**changes))
    assert message in refused.value.message
    assert "\n" not in refused.value.message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "--steps above 0"),
        ({"batch_size": -1}, "--batch_size above 0"),
        ({"keep": 0}, "--keep above 0"),
        ({"ema": 1.0}, "--ema in"),
        ({"eval_share": 0.9}, "--eval_share of at most 50%"),
        ({"overwrite": True, "resume": True}, "got both"),
        ({"resume": True, "output": None}, "--output with --resume"),
        ({"wire": "bf16"}, "sharded strategy with wire precision bf16"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_is_no_configuration(tiny: Make, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny(**changes)


def test_a_typing_error_in_a_name_is_answered_with_the_name(tiny: Make) -> None:
    with pytest.raises(InputError) as refused:
        train(tiny(model_options=("n_layers=2",)))
    assert refused.value.hint == "did you mean n_layer?"


def test_a_loss_that_is_no_number_names_step_and_records_and_keeps_the_last_good_state(
    tiny: Make, tmp_path: Path
) -> None:
    config = tiny(steps=40, checkpoint_every=1, optimizer=OptimizerConfig(lr=1e20, clip=0.0))
    with pytest.raises(InputError, match=r"of step \d+ is not a finite number") as stopped:
        train(config)
    assert "its records are" in stopped.value.message
    assert "step-" in stopped.value.message
    latest = (tmp_path / "run" / "checkpoints" / "latest").read_text().strip()
    assert latest in stopped.value.message
