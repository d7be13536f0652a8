"""What is recorded of a run is all that it did."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from deepseek.compiler.arena import Arena
from deepseek.compiler.operators import Attention, Embedding, Linear, Norm, Rotary, Softmax
from deepseek.compiler.record import CannotRecordError, OperatorCall, Recorder
from deepseek.kernels.gemm import pack_weight
from deepseek.kernels.int8 import pack_int8
from deepseek.kernels.parallel import Launch
from deepseek.nn.int8_arithmetic import quantize_weight

aten = torch.ops.aten


def recorded(run: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Recorder, Tensor, Tensor]:
    arena = Arena()
    given = arena.empty(x.shape, None, x.dtype).copy_(x)
    recorder = Recorder(arena)
    with torch.no_grad(), recorder:
        result = run(given)
    return recorder, given, result


def test_kernels_are_noted_after_an_operator_that_is_made_of_others() -> None:
    softmax = Softmax()
    recorder, _, _ = recorded(
        lambda x: softmax(aten.reshape_as.default(aten.flatten.using_ints(x, 0, 1), x)),
        torch.randn(2, 3, 8),
    )
    assert [type(step) for step in recorder.steps] == [Launch]


TABLE, ANGLES = torch.randn(5, 8), torch.randn(2, 2, 3, 8)
KERNELS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": Linear(pack_weight(torch.randn(16, 8)), torch.randn(16), "gelu"),
    "int8": Linear(pack_int8(*quantize_weight(torch.randn(16, 8)), "asymmetric")),
    "narrow": Linear(pack_weight(torch.randn(16, 8)), dtype=torch.bfloat16),
    "norm": Norm(torch.randn(8), torch.randn(8), 1e-5),
    "softmax": Softmax(),
    "attention": lambda x: Attention()(*[x.unflatten(-1, (2, 4)).transpose(1, 2)] * 3),
    "rotary": lambda x: Rotary()(*[x[:, None]] * 2, *ANGLES)[0],
    "embedding": lambda x: Embedding((TABLE,))(x[..., 0].long().clamp(0, 4)),
}


@pytest.mark.parametrize("run", KERNELS.values(), ids=KERNELS)
def test_kernels_are_noted_and_what_they_make_lies_in_the_arena(
    run: Callable[[Tensor], Tensor],
) -> None:
    recorder, given, result = recorded(run, torch.randn(2, 3, 8))
    assert any(isinstance(step, Launch) for step in recorder.steps)
    assert recorder.arena.holds(result)
    torch.testing.assert_close(result, run(given), rtol=0, atol=0)


def test_an_operator_of_ours_that_is_called_by_its_name_is_one_step() -> None:
    from deepseek.kernels.rows import ops

    norm = ops.layer_norm
    weight = torch.randn(8)
    recorder, given, result = recorded(lambda x: norm(x, weight), torch.randn(2, 3, 8))
    (step,) = recorder.steps
    assert isinstance(step, OperatorCall)
    result.zero_()
    step.run()
    torch.testing.assert_close(result, norm(given, weight))


def test_nothing_is_noted_after_a_run() -> None:
    recorder, given, _ = recorded(lambda x: aten.flatten.using_ints(x, 0, 1), torch.randn(2, 3, 8))
    Softmax()(given)
    assert recorder.steps == []


def test_steps_compute_again_from_what_the_input_holds_then() -> None:
    recorder, given, result = recorded(lambda x: (x * 2).sum(0).cos(), torch.randn(3, 4))
    other = torch.randn(3, 4)
    given.copy_(other)
    for step in recorder.steps:
        assert isinstance(step, OperatorCall)
        step.run()
    torch.testing.assert_close(result, (other * 2).sum(0).cos())


def test_copies_that_may_have_been_views_are_kept() -> None:
    """In inference mode torch asks for `contiguous` itself, which says that it gives a view."""
    kept: list[Tensor] = []

    def run(x: Tensor) -> Tensor:
        mask = torch.ones(1, 4, 1, dtype=torch.float32).expand(1, 4, 8).contiguous()
        kept.append(mask)
        return x * mask.reshape(4, 8)

    with torch.inference_mode():
        recorder, _, _ = recorded(run, torch.randn(4, 8))
    addresses = {x.data_ptr() for x in recorder.kept if isinstance(x, Tensor)}
    assert kept[0].data_ptr() in addresses


def test_several_results_are_computed_again() -> None:
    recorder, given, values = recorded(lambda x: torch.topk(x, 2)[0], torch.randn(3, 4))
    other = torch.randn(3, 4)
    given.copy_(other)
    for step in recorder.steps:
        assert isinstance(step, OperatorCall)
        step.run()
    torch.testing.assert_close(values, torch.topk(other, 2)[0])


def test_what_depends_on_no_input_is_computed_once() -> None:
    recorder, _, _ = recorded(lambda x: torch.arange(4) + torch.ones(4), torch.randn(3, 4))
    assert recorder.steps == []
    assert recorder.kept


def test_views_are_no_steps() -> None:
    recorder, _, _ = recorded(lambda x: x.t()[1:].unsqueeze(0), torch.randn(3, 4))
    assert recorder.steps == []


@pytest.mark.parametrize(
    "run",
    [lambda x: x.nonzero(), lambda x: x[x > 0], lambda x: torch.tensor(x.sum().item())],
    ids=["nonzero", "mask", "item"],
)
def test_what_follows_from_content_is_refused(run: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(CannotRecordError, match="depends on what its input holds"):
        recorded(run, torch.randn(3, 4))


def test_a_change_of_a_tensor_that_is_not_the_programs_own_is_refused() -> None:
    outside = torch.zeros(3)
    with pytest.raises(CannotRecordError, match="not the program's own"):
        recorded(outside.add_, torch.ones(3))
