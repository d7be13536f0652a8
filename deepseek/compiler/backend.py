"""``torch.compile(model, backend="deepseek")``: what Dynamo hands over, by way of AOTAutograd.

Graphs without gradients become programs of kernels. Graphs of a training step, forward and
backward, run operator by operator as eager mode does: their weights change at every step, and
what the forward pass keeps is what ATen's backward pass expects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deepseek.compiler.frozen import Frozen
from deepseek.compiler.normalize import takes_nothing_unknown
from deepseek.compiler.whole import kept_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch.fx import GraphModule

__all__ = ["deepseek"]


def deepseek(module: GraphModule, example_inputs: Sequence[Any], **_options: Any) -> Any:
    """Compile one graph of Dynamo's.

    Args:
        module: The graph, of torch functions.
        example_inputs: Its inputs, as fake tensors and symbols.

    Returns:
        A callable of the same inputs. Graphs on CUDA devices are Inductor's.
    """
    from torch._dynamo.backends.common import aot_autograd

    if any(isinstance(x, Tensor) and x.is_cuda for x in example_inputs):
        from torch._inductor.compile_fx import compile_fx

        return compile_fx(module, list(example_inputs))
    compiled = aot_autograd(
        fw_compiler=_as_it_is, bw_compiler=_as_it_is, inference_compiler=_inference
    )
    if _needs_gradients(module, example_inputs):
        return compiled(module, example_inputs)
    with kept_whole():
        return compiled(module, example_inputs)


def _needs_gradients(module: GraphModule, example_inputs: Sequence[Any]) -> bool:
    """Whether AOTAutograd may make a graph of a training step of this."""
    if not any(isinstance(x, Tensor) and x.requires_grad for x in example_inputs):
        return False
    switches = (torch._C._set_grad_enabled, torch.set_grad_enabled)  # noqa: SLF001
    return torch.is_grad_enabled() or any(node.target in switches for node in module.graph.nodes)


def _as_it_is(module: GraphModule, _example_inputs: Sequence[Any]) -> Callable[..., Any]:
    from torch.fx.graph import _BoxedCodeGen

    module.graph.set_codegen(_BoxedCodeGen())
    module.recompile()
    forward = module.forward

    def run(arguments: list[Any]) -> Any:
        return forward(arguments)

    run._boxed_call = True  # type: ignore[attr-defined]  # noqa: SLF001 - AOTAutograd asks for it
    return run


def _inference(module: GraphModule, example_inputs: Sequence[Any]) -> Callable[..., Any]:
    if not takes_nothing_unknown(module):
        return _as_it_is(module, example_inputs)
    return Frozen(module, _static(len(example_inputs)))


def _static(count: int) -> list[int]:
    """Places of parameters and buffers that the graph leaves as they are.

    A wrong place costs time and no more: each call looks whether the tensor is the same.
    """
    context = torch._guards.TracingContext.try_get()  # noqa: SLF001
    facts = None if context is None else context.fw_metadata
    if facts is None or len(facts.input_info) != count:
        return []
    return [
        place for place in facts.static_input_indices if not facts.input_info[place].mutates_data
    ]
