"""Graphs in the user's cache: one entry for each set of conditions on the inputs' shapes."""

from __future__ import annotations

import json
import logging
import os
import warnings
from typing import TYPE_CHECKING, Any

from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch.utils import _pytree as pytree

from deepseek.compiler.capture import Captured
from deepseek.compiler.kept.description import CannotDescribeError
from deepseek.compiler.kept.identity import identity, named_tensors
from deepseek.compiler.kept.values import Reader, write_value
from deepseek.compiler.saved.codec import Decoder, Encoder
from deepseek.compiler.saved.symbols import read_guards, write_guards
from deepseek.errors import InputError
from deepseek.kernels.cache import default_cache

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from deepseek.compiler.capture import Inputs

__all__ = ["find", "keep", "key_of"]

_MOST = 8  # graphs of one model for inputs of one kind
_LARGEST = 1 << 20  # bytes of tensors that are not the model's
_SPACES = ("aten", "deepseek")
_LENGTH = 8  # bytes that say how long the text is, before it; the tensors follow it
_log = logging.getLogger("deepseek.compiler")

_Look = tuple[Any, ...]


def key_of(model: nn.Module, inputs: Inputs) -> str | None:
    """The key of a model's graphs for inputs of one kind; None if they shall not be kept.

    That is so where something in the model cannot be described, or ``DEEPSEEK_KEEP_GRAPHS`` is 0.
    """
    if os.environ.get("DEEPSEEK_KEEP_GRAPHS") == "0":
        return None
    try:
        return identity(model, inputs)
    except (CannotDescribeError, OSError) as error:
        _log.info("the graph is not kept: %s", error)
        return None


def find(key: str | None, model: nn.Module, inputs: Inputs) -> Captured | None:
    """The graph that an earlier process kept under a key and that serves the inputs, if any."""
    for place in range(_MOST) if key else ():
        content = default_cache("graphs").get(f"{key}-{place}")
        if content is None:
            break
        try:
            captured = _read(content, model, inputs)
        except (InputError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            _log.info("a graph that was kept cannot be read: %s", error)
            continue
        if captured is not None:
            return captured
    return None


def keep(key: str | None, model: nn.Module, captured: Captured) -> bool:
    """Keep a graph as it was captured; False where that cannot be, which is no error."""
    if key is None:
        return False
    try:
        content = _write(model, captured)
    except (InputError, NotImplementedError, AttributeError) as error:
        _log.info("the graph is not kept: %s", error)
        return False
    cache = default_cache("graphs")
    places = (place for place in range(_MOST) if cache.get(f"{key}-{place}") is None)
    place = next(places, None)
    return place is not None and cache.put(f"{key}-{place}", content)


def _write(model: nn.Module, captured: Captured) -> bytes:
    """A graph with what its nodes make, and which tensors of the model it reads."""
    encoder = Encoder()
    names = {_look(tensor): name for name, tensor in _tensors(model).items() if tensor.numel()}
    constants = {}
    for node, tensor in captured.constants.items():
        name = names.get(_look(tensor))
        constants[node.name] = {"of": name} if name else {"is": encoder.tensor(tensor)}
    text = json.dumps({
        "guards": write_guards(captured.guards),
        "nodes": encoder.graph(captured.graph),
        "values": {
            node.name: write_value(node.meta["val"])
            for node in captured.graph.nodes if "val" in node.meta
        },
        "inputs": [node.name for node in captured.inputs],
        "constants": constants,
        "result": _quietly(pytree.treespec_dumps, captured.result),
    }).encode()  # fmt: skip
    if sum(tensor.nbytes for tensor in encoder.tensors.values()) > _LARGEST:
        raise InputError("expected small tensors beside the model's")
    return len(text).to_bytes(_LENGTH, "big") + text + save_tensors(encoder.tensors)


def _read(content: bytes, model: nn.Module, inputs: Inputs) -> Captured | None:
    """The graph, if it is for inputs of these shapes."""
    end = _LENGTH + int.from_bytes(content[:_LENGTH], "big")
    written = json.loads(content[_LENGTH:end])
    guards = read_guards(written["guards"])
    if not guards.hold(inputs.tensors):
        return None
    decoder = Decoder(load_tensors(content[end:]), _SPACES)
    graph, nodes = decoder.graph(written["nodes"])
    symbols = guards.symbols(inputs.tensors)
    reader = Reader(symbols or {})
    for name, value in written["values"].items():
        nodes[name].meta["val"] = reader.value(value)
    tensors = _tensors(model)
    return Captured(
        graph,
        [nodes[name] for name in written["inputs"]],
        {
            nodes[name]: tensors[each["of"]] if "of" in each else decoder.tensors[each["is"]]
            for name, each in written["constants"].items()
        },
        guards,
        (inputs.tree, inputs.constants),
        _quietly(pytree.treespec_loads, written["result"]),
    )


def _quietly(function: Callable[[Any], Any], value: Any) -> Any:
    """Torch warns of what it calls itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(value)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name."""
    return {name: tensor.detach() for name, tensor in named_tensors(model)}


def _look(tensor: Tensor) -> _Look:
    return tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()
