"""The order of the passes, and the check between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deepseek.compiler.listing import listing
from deepseek.compiler.nodes import value_of
from deepseek.compiler.pointwise import fuse_pointwise
from deepseek.compiler.rewrite.activations import find_activations
from deepseek.compiler.rewrite.attentions import find_attention
from deepseek.compiler.rewrite.chains import chain_linears
from deepseek.compiler.rewrite.clean import (
    drop_idle,
    drop_unused,
    fold_constants,
    join_views,
    loosen_views,
    merge_equals,
)
from deepseek.compiler.rewrite.embeddings import find_embeddings
from deepseek.compiler.rewrite.epilogues import fuse_epilogues
from deepseek.compiler.rewrite.linears import find_linears, join_linears
from deepseek.compiler.rewrite.parts import take_parts
from deepseek.compiler.rewrite.patches import find_patches
from deepseek.compiler.rewrite.precision import round_attention, round_products
from deepseek.compiler.rewrite.rotations import find_rotary
from deepseek.compiler.rewrite.rows import find_norms, find_softmax
from deepseek.compiler.rewrite.weights import Packing

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.fx import Graph

    from deepseek.compiler.nodes import Constants

__all__ = ["PASSES", "Passed", "rewrite", "verify"]


@dataclass(frozen=True, slots=True)
class Passed:
    """What a pass left behind.

    Attributes:
        name: Of the pass.
        nodes: Calls in the graph after it.
        text: The graph after it, where it was asked for.
    """

    name: str
    nodes: int
    text: str = ""


def join_pointwise(graph: Graph, _constants: Constants) -> None:
    """Fuse pointwise operators that no kernel above has taken."""
    fuse_pointwise(graph)


def passes_for(packing: Packing) -> tuple[Callable[[Graph, Constants], None], ...]:
    """The passes in their order.

    Patterns are found before the weights they read are packed, and what is left is fused last.
    """

    def pack_joined_linears(graph: Graph, constants: Constants) -> None:
        join_linears(graph, constants, packing)

    def pack_linears(graph: Graph, constants: Constants) -> None:
        find_linears(graph, constants, packing)

    def pack_patches(graph: Graph, constants: Constants) -> None:
        find_patches(graph, constants, packing)

    return (
        drop_idle,
        fold_constants,
        merge_equals,
        take_parts,
        find_activations,
        find_attention,
        find_rotary,
        pack_joined_linears,
        pack_linears,
        pack_patches,
        join_views,
        fuse_epilogues,
        find_embeddings,
        find_norms,
        find_softmax,
        round_products if packing.precision == "bf16" else round_attention,
        chain_linears,
        join_pointwise,
        loosen_views,
    )


PASSES = tuple(each.__name__.strip("_") for each in passes_for(Packing("bf16")))
"""Names of the passes of bf16, in their order; `round_attention` stands for one in others."""


def rewrite(
    graph: Graph, constants: Constants, packing: Packing, *, texts: bool = False
) -> list[Passed]:
    """Run all passes on a graph, which they change, and check it after each.

    Args:
        graph: As it was captured.
        constants: The tensors of its placeholders that are known; folded ones are added, and
            those that are no longer used are removed.
        packing: How weights are stored.
        texts: Keep the graph's text after each pass.
    """
    passed = []
    for each in passes_for(packing):
        each(graph, constants)
        verify(graph)
        nodes = sum(node.op == "call_function" for node in graph.nodes)
        text = listing(graph) if texts else ""
        passed.append(Passed(each.__name__.strip("_"), nodes, text))
    for node in [node for node in constants if not node.users]:
        del constants[node]
        graph.erase_node(node)
    drop_unused(graph)
    return passed


def verify(graph: Graph) -> None:
    """Check that a graph is sound: torch.fx's own rules, and that every call says what it makes.

    Raises:
        RuntimeError: It is not: a defect of the pass that ran last.
    """
    graph.lint()
    for node in graph.nodes:
        if node.op == "call_function" and value_of(node) is None and node.users:
            raise RuntimeError(f"{node.format_node()} does not say what it makes")
        if node.op not in ("call_function", "placeholder", "output"):
            raise RuntimeError(f"{node.format_node()} is not of a kind that programs have")
