"""What holds for every strategy besides the losses: starts, norms, means, places, refusals."""

from math import sqrt

import pytest
import torch
from tiny import TinyGpt
from torch import nn

from deepseek.distributed import Layout, Mesh, clip_grad_norm, is_leader, shard, unwrap
from deepseek.errors import InputError


def test_small_exchanges(pair: dict[str, object]) -> None:
    found = pair["moments"]
    assert isinstance(found, dict), found
    assert found["mean"].tolist() == [0.5, 1.0]
    assert found["unchanged"].tolist() == [0.0, 1.0]
    assert len(set(found["seeds"])) == 2
    assert found["places"] == [(0, 0, 0, True), (1, 1, 0, False)]


@pytest.mark.parametrize("strategy", ["none", "gradient"])
def test_processes_start_from_the_values_of_the_first(
    pair: dict[str, object], strategy: str
) -> None:
    assert pair[f"start {strategy}"] == 0.0


def test_the_norm_is_of_the_whole_gradient(pair: dict[str, object]) -> None:
    found = pair["norms"]
    assert isinstance(found, dict), found
    assert found["measured"] == found["clipped"] == pytest.approx(sqrt(15))
    assert found["untouched"] == 1.0
    assert found["after"] == pytest.approx(1.0, abs=1e-5)
    assert found["none"] == 0.0


def test_one_process_stays_plain() -> None:
    mesh = Mesh.of(Layout())
    model = TinyGpt()
    assert shard(model, mesh, strategy="full", wire="bf16") is model
    assert unwrap(model) is model
    assert is_leader()
    assert (mesh.is_first_stage, mesh.is_last_stage, mesh.group("shard")) == (True, True, None)
    assert clip_grad_norm(model.parameters(), 1.0, mesh) == 0


def test_clipping_is_torchs() -> None:
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)
    other.load_state_dict(model.state_dict())
    for one in (model, other):
        one(torch.ones(1, 3)).square().sum().backward()
    wanted = nn.utils.clip_grad_norm_(other.parameters(), 0.1)
    assert clip_grad_norm(model.parameters(), 0.1, Mesh.of(Layout())) == pytest.approx(wanted)
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_a_wire_without_shards_is_refused() -> None:
    with pytest.raises(InputError, match="expected a sharded strategy with wire precision int8"):
        shard(TinyGpt(), Mesh.of(Layout()), strategy="none", wire="int8")


def test_a_layout_of_more_processes_than_there_are_is_refused() -> None:
    with pytest.raises(InputError, match="expected 2 processes"):
        Mesh.of(Layout(shards=2))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("world", "expected 3 processes"),
        ("whole", "expected stages made by split"),
        ("schedule", "for schedule zbv, got (0,)"),
        ("rows", "at least 2 rows"),
        ("micro-batches", "that divide 8 rows"),
    ],
)
def test_what_a_pipeline_cannot_run_is_refused(
    pair: dict[str, object], what: str, message: str
) -> None:
    assert message in pair[f"refused {what}"]


def test_evaluation_takes_any_number_of_rows(pair: dict[str, object]) -> None:
    found = pair["evaluate"]
    assert isinstance(found, dict), found
    assert found["loss"] < 1e-6
    assert found["output"] < 1e-6
    assert found["score"] < 1e-5


def test_stages_compute_in_lower_precision_when_asked(pair: dict[str, object]) -> None:
    found = pair["lower precision"]
    assert isinstance(found, dict), found
    assert found["types"] == ["torch.bfloat16"]
    assert found["passes"] == 9  # eight micro-batches, and one to learn the shapes
    assert found["loss"] < 1e-4
    assert found["gradient"] < 1e-2


def test_a_summed_loss_has_the_gradient_of_all_tokens(pair: dict[str, object]) -> None:
    assert isinstance(pair["sum"], float), pair["sum"]
    assert pair["sum"] < 1e-6
