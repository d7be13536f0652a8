"""A folder with a compiled model: ``manifest.json`` and ``weights.safetensors``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from deepseek.compiler.capture import flatten
from deepseek.compiler.collector import uncollected
from deepseek.compiler.program import Program
from deepseek.compiler.saved.codec import Decoder, Encoder
from deepseek.compiler.saved.symbols import read_guards, write_guards
from deepseek.compiler.saved.trees import read_tree, write_tree
from deepseek.compiler.saved.weights import read_weights, write_weights
from deepseek.errors import InputError
from deepseek.kernels.gemm.spec import int8_format, tile_for
from deepseek.kernels.pages import lasting
from deepseek.kernels.target import current
from deepseek.outputs import staged
from deepseek.versions import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deepseek.compiler.compile import Compilation, CompiledModel
    from deepseek.compiler.guards import Guards
    from deepseek.kernels.target import Target

__all__ = ["SCHEMA", "SavedModel", "load", "save"]

SCHEMA = "deepseek.program/4"
_MANIFEST, _WEIGHTS = "manifest.json", "weights.safetensors"


def save(
    compiled: CompiledModel,
    path: str | Path,
    *,
    overwrite: bool = False,
    extra: Mapping[str, str] | None = None,
) -> Path:
    """Write what was compiled so far, so that it can be loaded without the model.

    Args:
        compiled: A model that has been called, with inputs of each kind that are to be served.
        path: The folder to write; complete or not there.
        overwrite: Replace one that is there.
        extra: Texts of further files in the folder, by name.

    Returns:
        The folder.

    Raises:
        InputError: Nothing was compiled, a graph has no written form, or the folder exists.
    """
    if not compiled.compilations:
        reason = compiled.refusal or "it has not been called yet"
        raise InputError(f"expected a compiled model, got one without graphs: {reason}")
    encoder = Encoder()
    graphs = [_write_graph(encoder, each) for each in compiled.compilations]
    folder = Path(path)
    with staged(folder, overwrite=overwrite) as place:
        place.mkdir()
        weights = write_weights(encoder.tensors, place / _WEIGHTS)
        manifest = {
            "schema": SCHEMA,
            "version": __version__,
            "torch": torch.__version__,
            "precision": compiled.precision,
            "target": _target(current()),
            "weights": weights,
            "graphs": graphs,
        }
        (place / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        for name, text in (extra or {}).items():
            (place / name).write_text(text, encoding="utf-8")
    return folder


def load(path: str | Path, *, copy: bool = False) -> SavedModel:
    """The compiled model of a folder, without tracing and without the classes of its model.

    Kernels are taken from the cache on disk, or made on first use: a folder holds no machine code.

    Args:
        path: The folder.
        copy: Give the weights memory of their own. Otherwise the file stays mapped, which all
            processes that load it share; calls are slower then, because files have small pages.

    Raises:
        InputError: It is none, it is damaged, or it was written for another processor or version.
    """
    folder = Path(path)
    manifest = _manifest(folder)
    _check_machine(manifest)
    try:
        tensors = read_weights(folder / _WEIGHTS, manifest["weights"])
        if copy:
            tensors = {name: lasting(tensor) for name, tensor in tensors.items()}
        with uncollected():
            graphs = tuple(_read_graph(Decoder(tensors), each) for each in manifest["graphs"])
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError(f"expected a whole manifest in {folder}, found it damaged") from error
    return SavedModel(graphs, manifest["precision"])


@dataclass(frozen=True, slots=True)
class SavedGraph:
    """One graph of a saved model.

    Attributes:
        program: What runs.
        guards: What must hold of the inputs' shapes.
        kind: How inputs are put together, and which of them are constants.
        result: How outputs are put together.
    """

    program: Program
    guards: Guards
    kind: Any
    result: Any


@dataclass(frozen=True, slots=True)
class SavedModel:
    """A compiled model that was loaded; called as the model was.

    Attributes:
        graphs: One for each kind of inputs.
        precision: How linear layers compute.
    """

    graphs: tuple[SavedGraph, ...]
    precision: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs; where the model gave an object with fields, a :class:`.trees.Result`.

        Raises:
            InputError: The model was saved for other inputs.
        """
        inputs = flatten(args, kwargs)
        for graph in self.graphs:
            named = _in_order(kwargs, graph.kind)
            inputs = flatten(args, named)
            kind = write_tree((args, named), inputs.leaves)
            if graph.kind == kind and graph.guards.hold(inputs.tensors):
                return read_tree(graph.result, graph.program(inputs.tensors))
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in inputs.tensors)
        raise InputError(
            f"expected inputs of a kind that the model was saved for, got tensors of {shapes}",
            hint="call the compiled model with such inputs before it is saved",
        )


def _in_order(kwargs: Mapping[str, Any], kind: Any) -> dict[str, Any]:
    """Named arguments in the order that a graph has them, where they are the same."""
    names = kind["tuple"][1]["fields"]
    return dict(kwargs) if names.keys() != kwargs.keys() else {name: kwargs[name] for name in names}


def _write_graph(encoder: Encoder, compilation: Compilation) -> dict[str, Any]:
    captured = compilation.captured
    return {
        "nodes": encoder.graph(captured.graph),
        "inputs": [node.name for node in captured.inputs],
        "constants": {
            node.name: encoder.tensor(tensor) for node, tensor in captured.constants.items()
        },
        "guards": write_guards(captured.guards),
        "kind": _written_kind(*captured.kind),
        "result": _written_kind(captured.result, [Tensor] * captured.result.num_leaves),
    }


def _written_kind(tree: Any, constants: Sequence[Any]) -> Any:
    """A tree of pytree's as values of JSON; the type Tensor stands where a tensor does."""
    leaves = [torch.empty(0) if constant is Tensor else constant for constant in constants]
    return write_tree(pytree.tree_unflatten(leaves, tree), leaves)


def _read_graph(decoder: Decoder, written: dict[str, Any]) -> SavedGraph:
    graph, nodes = decoder.graph(written["nodes"])
    constants = {
        nodes[name]: decoder.value({"@tensor": tensor})
        for name, tensor in written["constants"].items()
    }
    program = Program(graph, [nodes[name] for name in written["inputs"]], constants)
    return SavedGraph(program, read_guards(written["guards"]), written["kind"], written["result"])


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"expected a compiled model in {folder}, found no readable {_MANIFEST}"
        ) from error
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if schema != SCHEMA:
        raise InputError(f"expected a manifest of schema {SCHEMA} in {folder}, found {schema}")
    return manifest  # type: ignore[no-any-return]  # a dict with the schema in it


def _check_machine(manifest: dict[str, Any]) -> None:
    """Refuse a program of another version, or whose weights lie as another processor needs them."""
    if manifest["version"] != __version__:
        raise InputError(
            f"expected a model compiled by version {__version__}, got {manifest['version']}",
            hint="compile it again",
        )
    here, there = _target(current()), manifest["target"]
    for fact, value in here.items():
        if there.get(fact) != value:
            raise InputError(
                f"expected a model compiled for a processor with {fact} {value}, got one for "
                f"{there.get(fact)}",
                hint="compile it on this machine, or set DEEPSEEK_TARGET when compiling",
            )


def _target(target: Target) -> dict[str, Any]:
    """What weights depend on: how they lie in memory."""
    return {
        "architecture": target.architecture,
        "columns": tile_for(target).columns,
        "int8": int8_format(target).name,
    }
