"""From a model to a graph: non-strict ``torch.export``, with sizes that may change.

Every size of the inputs is a symbol unless the model makes it a number. What was assumed about the
symbols while the model ran on fake tensors is kept: a graph is used only for inputs that keep it.
"""

from __future__ import annotations

import inspect
import io
import logging
import warnings
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.export import Dim
from torch.fx.experimental import proxy_tensor
from torch.utils import _pytree as pytree

from deepseek.compiler.caches import among, register
from deepseek.compiler.guards import Guards
from deepseek.errors import InputError
from deepseek.kernels.scoped import scoped
from deepseek.nn.whole import layers_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.fx import Graph, Node

__all__ = ["Captured", "Inputs", "capture", "flatten"]

_TALKATIVE = ("torch._export", "torch.fx.experimental.symbolic_shapes")


@dataclass(frozen=True, slots=True)
class Inputs:
    """The arguments of one call, flat.

    Attributes:
        leaves: Tensors and everything else, in the order of the tree.
        tree: Their places in args and kwargs.
    """

    leaves: tuple[Any, ...]
    tree: Any

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors among them."""
        return tuple(leaf for leaf in self.leaves if isinstance(leaf, Tensor))

    @property
    def constants(self) -> tuple[Any, ...]:
        """The others, which a graph is made for; a tensor's place holds its type."""
        return tuple(Tensor if isinstance(leaf, Tensor) else leaf for leaf in self.leaves)


def flatten(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Inputs:
    """The arguments of a call, flat.

    Raises:
        CannotFlattenError: There is a cache of keys and values of a kind that has no tree.
    """
    register()
    leaves, tree = pytree.tree_flatten((args, kwargs))
    return Inputs(tuple(leaves), tree)


@dataclass(slots=True)
class Captured:
    """A model as a graph of ATen operators, for inputs of one kind.

    Attributes:
        graph: Placeholders are the tensors of the inputs, then those of ``constants``.
        inputs: Placeholders of the tensors among the inputs, in order.
        constants: Parameters and buffers by their placeholder.
        guards: What must hold of the inputs' shapes.
        kind: The tree and the constants of the inputs it was made for.
        result: How the outputs are put together.
    """

    graph: Graph
    inputs: list[Node]
    constants: dict[Node, Tensor]
    guards: Guards
    kind: tuple[Any, tuple[Any, ...]]
    result: Any = field(repr=False)

    def fits(self, inputs: Inputs) -> bool:
        """Whether the graph computes what the model does of these inputs."""
        return self.kind == (inputs.tree, inputs.constants) and self.guards.hold(inputs.tensors)


def capture(model: torch.nn.Module, inputs: Inputs) -> Captured:
    """The graph of a model in evaluation mode, without gradients.

    Raises:
        InputError: The model changes its own buffers, which a frozen graph would not do.
        Exception: Whatever torch.export raises of a model that it cannot take.
    """
    args, kwargs = pytree.tree_unflatten(inputs.leaves, inputs.tree)
    free_args, free_kwargs = _described(inputs.tree, map(_free, inputs.leaves))
    with torch.no_grad(), warnings.catch_warnings(), _quiet(), _terse(), layers_whole():
        warnings.simplefilter("ignore")
        exported = torch.export.export(
            model, args, kwargs, strict=False, dynamic_shapes=_shapes(model, free_args, free_kwargs)
        )
        return _captured(exported, inputs)


def _free(leaf: Any) -> dict[int, Any] | None:
    return dict.fromkeys(range(leaf.dim()), Dim.AUTO) if isinstance(leaf, Tensor) else None


def _described(tree: Any, leaves: Iterator[Any]) -> Any:
    """A tree of descriptions: what is no plain container becomes a list, as torch.export asks."""
    if tree.is_leaf():
        return next(leaves)
    parts = [_described(child, leaves) for child in tree.children()]
    if tree.type is dict:
        return dict(zip(tree.context, parts, strict=True))
    return tuple(parts) if tree.type is tuple else parts


def _shapes(model: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Specifications by the names of the model's parameters, as torch.export takes them."""
    return dict(inspect.signature(model.forward).bind(*args, **kwargs).arguments)


@contextmanager
def _terse() -> Iterator[None]:
    """Let nodes go without what nobody asks them for.

    The lines of Python that they come from took a tenth of the capture of BERT, and a second
    description of each tensor, with the memory format that its symbols allow, another tenth.
    """
    with (
        scoped(torch.fx.config, "do_not_emit_stack_traces", True),
        scoped(proxy_tensor, "_extract_tensor_metadata", lambda _tensor: None),
    ):
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch.export's remarks to itself: a caller is told the outcome, in one line."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _changes_something(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


def _captured(exported: Any, inputs: Inputs) -> Captured:
    if any(_changes_something(node) for node in exported.graph.nodes):
        exported = exported.run_decompositions({})  # the same operators, but for those in place
    if among(exported.call_spec.in_spec) > among(exported.call_spec.out_spec):
        raise InputError("expected a model that returns its cache, got one that keeps it")
    signature = exported.graph_signature
    changed = [*signature.buffers_to_mutate.values(), *signature.user_inputs_to_mutate.values()]
    if changed:
        raise InputError(
            f"expected a model that changes nothing, got one that changes {changed[0]}"
        )
    module = exported.graph_module
    graph = module.graph
    placeholders = {node.name: node for node in graph.nodes if node.op == "placeholder"}
    held = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    states = {**exported.state_dict, **exported.constants}
    constants = {placeholders[name]: states[key].detach() for name, key in held.items()}
    given = [node for node in placeholders.values() if node not in constants]
    tensors = [
        node for node, leaf in zip(given, inputs.leaves, strict=True) if isinstance(leaf, Tensor)
    ]
    guards = Guards.of([node.meta["val"] for node in tensors], exported.range_constraints)
    return Captured(
        graph,
        tensors,
        constants,
        guards,
        (inputs.tree, inputs.constants),
        exported.call_spec.out_spec,
    )
