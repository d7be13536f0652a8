"""Find the named tensors in what training code saved around them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from deepseek.errors import InputError
from deepseek.formats.pickles import StandIn

__all__ = ["StateDict", "find_state_dict"]

# Where training code puts the weights, the likeliest first.
_PLACES = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "net",
    "network",
    "weights",
    "params",
)
_NOT_WEIGHTS = ("optim", "sched", "loops", "callbacks", "scaler", "rng", "hyper_parameters", "args")
_DEPTH = 4
_MOST_MODULES = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class StateDict:
    """Named tensors, and how they were found.

    Attributes:
        tensors: The tensors by name.
        place: The keys that lead to them, joined by dots; empty at the top.
        skipped: Names beside them whose values are no tensors.
    """

    tensors: dict[str, torch.Tensor]
    place: str
    skipped: tuple[str, ...]


def find_state_dict(saved: object, path: Path) -> StateDict:
    """The state dict in what was saved to ``path``: the object itself, or what lies in it.

    Raises:
        InputError: There is none, or several and none under a usual key.
    """
    try:
        found = _find(saved, "", _DEPTH, set())
    except InputError as error:
        raise InputError(f"{path}: {error.message}", hint=error.hint) from None
    if found is None:
        raise InputError(f"{path}: expected named tensors, found {_described(saved)}")
    return found


def _find(value: object, place: str, depth: int, seen: set[int]) -> StateDict | None:
    if isinstance(value, StandIn) and isinstance(value.state, Mapping):
        tensors = dict(_of_module(value.state))
        return StateDict(tensors=tensors, place=place, skipped=()) if tensors else None
    if not isinstance(value, Mapping) or depth == 0 or id(value) in seen:
        return None
    seen.add(id(value))
    keys = [key for key in value if isinstance(key, str)]
    usual = [key for key in _PLACES if key in value]
    for key in usual:
        inner = _find(value[key], _joined(place, key), depth - 1, seen)
        if inner is not None:
            return inner
    if any(isinstance(value[key], torch.Tensor) for key in keys):
        return _taken(value, keys, place)
    rest = [key for key in keys if not key.lower().startswith(_NOT_WEIGHTS)]
    inner_ones = [_find(value[key], _joined(place, key), depth - 1, seen) for key in rest]
    found = [inner for inner in inner_ones if inner is not None]
    if len(found) > 1:
        raise InputError(
            "expected one state dict, found several: " + ", ".join(one.place for one in found),
            hint="save the one that is meant to a file of its own",
        )
    return found[0] if found else None


def _taken(value: Mapping[object, object], keys: list[str], place: str) -> StateDict:
    tensors: dict[str, torch.Tensor] = {}
    skipped: list[str] = []
    for key in keys:
        entry = value[key]
        if isinstance(entry, torch.Tensor):
            tensors[key] = entry
        elif isinstance(entry, StandIn):
            raise InputError(f"expected a tensor under {key!r}, found an object of {entry.name}")
        else:
            skipped.append(key)
    return StateDict(tensors=tensors, place=place, skipped=tuple(skipped))


def _of_module(state: Mapping[str, object]) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors of a module that was saved whole, out of the attributes torch gives each module."""
    waiting: list[tuple[str, Mapping[str, object]]] = [("", state)]
    for _ in range(_MOST_MODULES):
        if not waiting:
            return
        prefix, state = waiting.pop()
        transient = state.get("_non_persistent_buffers_set")
        for kind in ("_parameters", "_buffers"):
            for name, value in _items(state.get(kind)):
                passing = isinstance(transient, set) and name in transient
                if isinstance(value, torch.Tensor) and not passing:
                    yield f"{prefix}{name}", value
        waiting += [
            (f"{prefix}{name}.", module.state)
            for name, module in reversed(_items(state.get("_modules")))
            if isinstance(module, StandIn) and isinstance(module.state, Mapping)
        ]
    raise InputError(f"expected a module, found one of more than {_MOST_MODULES} parts")


def _items(members: object) -> list[tuple[object, object]]:
    return list(members.items()) if isinstance(members, Mapping) else []


def _joined(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _described(value: object) -> str:
    if isinstance(value, Mapping):
        keys = ", ".join(str(key)[:40] for key in list(value)[:6] if isinstance(key, str))
        return f"keys without tensors: {keys}" if keys else "an empty or unnamed mapping"
    if isinstance(value, StandIn):
        return f"an object of {value.name}"
    return f"an object of type {type(value).__name__}"
