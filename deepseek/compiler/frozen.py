"""An inference graph with the parameters it has now, and with others once they change.

A graph of AOTAutograd takes parameters as inputs. They are taken for constants at the first call,
so that weights can be packed and what depends on them alone is computed once; each call looks
whether they still are what they were.
"""

from __future__ import annotations

import copy
import logging
import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deepseek.compiler.normalize import lift_constants, loosen_views, name_conversions
from deepseek.compiler.operators import Operator
from deepseek.compiler.outputs import Roots, settle
from deepseek.compiler.program import Program
from deepseek.compiler.rewrite import rewrite
from deepseek.compiler.rewrite.weights import Packing
from deepseek.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch.fx import Graph, GraphModule

__all__ = ["Frozen", "Watched"]

_MOST_BUILDS = 8  # parameters that change more often than that are inputs like others
_log = logging.getLogger("deepseek.compiler")


@dataclass(frozen=True, slots=True)
class Watched:
    """A tensor that was taken for a constant, and how it was then."""

    place: int
    reference: weakref.ref[Tensor]
    version: int
    address: int

    @classmethod
    def of(cls, place: int, tensor: Tensor) -> Watched:
        """The tensor as it is now."""
        return cls(place, weakref.ref(tensor), tensor._version, tensor.data_ptr())  # noqa: SLF001

    def is_still(self, tensor: Tensor) -> bool:
        """Whether this is the tensor, and nothing was written to it."""
        return (
            self.reference() is tensor
            and tensor._version == self.version  # noqa: SLF001 - torch has no public name for it
            and tensor.data_ptr() == self.address
        )


@dataclass(frozen=True, slots=True)
class _Built:
    program: Program | None
    watched: tuple[Watched, ...]
    places: tuple[int, ...]


class Frozen:
    """What AOTAutograd calls with a list of all inputs of a graph, parameters among them.

    Args:
        module: The graph.
        static: Places of the inputs that are likely to be the same at every call.

    Attributes:
        builds: How often the graph was rewritten.
    """

    _boxed_call = True  # the list is emptied, so that inputs live no longer than they must

    def __init__(self, module: GraphModule, static: Sequence[int]) -> None:
        self._module = module
        self._static = tuple(static)
        self._built: _Built | None = None
        self._lock = threading.Lock()
        self.builds = 0

    def __call__(self, arguments: list[Any]) -> Any:
        """The outputs of the graph."""
        given = list(arguments)
        arguments.clear()
        built = self._built
        if built is None or not all(each.is_still(given[each.place]) for each in built.watched):
            with self._lock:
                built = self._build(given)
        if built.program is None:
            return self._plain(given)
        try:
            return built.program([given[place] for place in built.places])
        except InputError:  # torch tells what is wrong in its own words
            return self._plain(given)

    @property
    def program(self) -> Program | None:
        """What runs now; None where the graph runs as it is."""
        return None if self._built is None else self._built.program

    def _plain(self, given: Sequence[Any]) -> Any:
        return self._module.forward(*given)

    def _build(self, given: Sequence[Any]) -> _Built:
        self.builds += 1
        static = self._static if self.builds <= _MOST_BUILDS else ()
        known = {place: given[place] for place in static if _can_be_watched(given[place])}
        watched = tuple(Watched.of(place, tensor) for place, tensor in known.items())
        others = tuple(place for place in range(len(given)) if place not in known)
        try:
            program = _program(self._module, known, others)
        except Exception:  # noqa: BLE001 - a defect of a pass must not stop the caller
            _log.exception("a graph runs as it is: it could not be rewritten")
            program = None
        self._built = _Built(program, watched if program else (), others)
        return self._built


def _can_be_watched(value: object) -> bool:
    return type(value) in (Tensor, torch.nn.Parameter) and not value.is_inference()  # type: ignore[attr-defined]


def _program(
    module: GraphModule, known: dict[int, Tensor], others: Sequence[int]
) -> Program | None:
    """The graph on kernels; None if there are none in it."""
    graph: Graph = copy.deepcopy(module.graph)
    before = Roots(graph)
    placeholders = graph.find_nodes(op="placeholder")
    constants = {placeholders[place]: tensor.detach() for place, tensor in known.items()}
    constants |= lift_constants(graph, module)
    name_conversions(graph)
    rewrite(graph, constants, Packing("fp32"))
    if not any(isinstance(node.target, Operator) for node in graph.nodes):
        return None
    if not settle(graph, before):
        return None
    loosen_views(graph)
    return Program(graph, [placeholders[place] for place in others], constants)
