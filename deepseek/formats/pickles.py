"""What torch.save wrote, read without running anything.

Only torch's weights-only unpickler reads a file. A name it does not know can be let through on
request, and then stands for nothing: an inert object takes its place, so that neither the module
of that name is imported nor any of its code runs.
"""

import pickletools
import re
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch._utils import IMPORT_MAPPING, NAME_MAPPING

from deepseek.errors import InputError
from deepseek.formats.damage import reason

__all__ = ["StandIn", "load_weights_only"]

_DOTTED_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_LEGACY_PICKLES = 5  # magic number, protocol, system, the object, the keys of its storages
_HINTS = {
    "Unsupported operand": "if it is whole, save it again with torch.save and its usual protocol",
    "Only persistent_load of storage": "save the state_dict(), not the module itself",
}
_HARMFUL = "do not load this file; it was made to harm or is damaged"
_NEVER = ("os.", "posix.", "nt.", "sys.")  # torch refuses these modules whatever is allowed


class StandIn:
    """Takes the place of an object whose class was allowed by name.

    Attributes:
        name: The class or function that the file mentions.
        state: What the file says of the object.
    """

    name = ""
    state: object = None

    def __init__(self, *arguments: object) -> None:
        del arguments

    def __setstate__(self, state: object) -> None:
        self.state = state


def load_weights_only(
    path: Path,
    *,
    pickles: Callable[[IO[bytes]], IO[bytes]],
    allow_globals: Sequence[str],
    map_location: str,
) -> object:
    """What ``torch.load`` gives for the file, with inert objects for the allowed names.

    Args:
        path: A file of torch.save.
        pickles: From the open file, where its pickles lie; read only to explain a refusal.
        allow_globals: Names (``module.name``) that may be mentioned besides torch's own.
        map_location: Where tensors go: ``cpu``, or ``meta`` for none of their data.

    Raises:
        InputError: The file mentions a name that is not allowed, or is damaged.
    """
    for name in allow_globals:
        if not _DOTTED_NAME.fullmatch(name):
            raise InputError(f"expected module.name to allow, got {name!r}")
    stand_ins = {name: _stand_in(name) for name in allow_globals}
    for _ in range(len(allow_globals) + 1):
        try:
            return _load(path, stand_ins, map_location)
        except Exception as error:  # noqa: BLE001 - the unpickler of a damaged file raises anything
            mapping = _found_to_be_mapping(error, stand_ins)
            if mapping is None:
                raise _explained(path, error, pickles, allow_globals) from None
            stand_ins[mapping] = _stand_in_mapping(mapping)
    raise AssertionError("every round turns one more name into a mapping")


def _load(path: Path, stand_ins: dict[str, type], map_location: str) -> object:
    allowed = [(cast("Callable[..., Any]", kind), name) for name, kind in stand_ins.items()]
    with (
        warnings.catch_warnings(action="ignore"),
        torch.serialization.safe_globals(list(allowed)),
        path.open("rb") as file,
    ):
        return torch.load(file, map_location=map_location, weights_only=True)


def _stand_in(name: str) -> type:
    return type("StandIn", (StandIn,), _called(name))


def _stand_in_mapping(name: str) -> type:
    """For a class derived from dict: the unpickler fills nothing but true mappings."""

    def new(_kind: type, *_arguments: object) -> OrderedDict[object, object]:
        return OrderedDict()

    return type("StandInMapping", (), {"__new__": new, **_called(name)})


def _called(name: str) -> dict[str, str]:
    """Attributes by which an error of the unpickler calls the class as the file does."""
    module, _, attribute = name.rpartition(".")
    return {"name": name, "__module__": module, "__qualname__": attribute}


def _found_to_be_mapping(error: Exception, stand_ins: dict[str, type]) -> str | None:
    if "Can only SETITEM" not in str(error):
        return None
    found = (name for name, kind in stand_ins.items() if repr(kind) in str(error))
    return next((name for name in found if issubclass(stand_ins[name], StandIn)), None)


def _explained(
    path: Path,
    error: Exception,
    pickles: Callable[[IO[bytes]], IO[bytes]],
    allow_globals: Sequence[str],
) -> InputError:
    """Why the file could not be read: names that are not allowed, or damage."""
    known = torch._weights_only_unpickler._get_allowed_globals()  # noqa: SLF001 - not public
    try:
        with path.open("rb") as file:
            mentioned = dict.fromkeys(_mentioned(pickles(file)))
    except Exception:  # noqa: BLE001 - where the pickle cannot be found, nothing can be said of it
        mentioned = {}
    offending = [name for name in mentioned if name not in known and name not in allow_globals]
    never = [name for name in mentioned if name.startswith(_NEVER)]
    if never:
        return InputError(
            f"{path}: the pickle would call {', '.join(never)}, which can run any command",
            hint=_HARMFUL,
        )
    if offending:
        flags = [f"--allow_global {name}" for name in offending if _DOTTED_NAME.fullmatch(name)]
        advice = f"if only the tensors matter, pass over such objects with {' '.join(flags)}"
        return InputError(
            f"{path}: the pickle mentions names that weights-only loading does not know: "
            + ", ".join(offending),
            hint=advice if len(flags) == len(offending) else _HARMFUL,
        )
    hint = next((hint for sign, hint in _HINTS.items() if sign in str(error)), None)
    return InputError(
        f"{path}: damaged, cut off, or not a state dict of torch.save ({_of_torch(error)})",
        hint=hint,
    )


def _of_torch(error: Exception) -> str:
    """What torch found wrong, without its advice to load the file unsafely."""
    lines = [line for line in str(error).splitlines() if line and "weights_only" not in line]
    return reason(RuntimeError(lines[-1])) if lines else reason(error)


def _mentioned(stream: IO[bytes]) -> Iterator[str]:
    """Every global that the pickles of a stream name, as far as the stream can be followed."""
    for _ in range(_LEGACY_PICKLES):
        strings: list[str | None] = []
        memo: dict[int, str | None] = {}
        try:
            for opcode, argument, _position in pickletools.genops(stream):
                if opcode.name in ("GLOBAL", "INST"):
                    yield _modern(*str(argument).split(" ", 1))
                    strings.append(None)
                elif opcode.name == "STACK_GLOBAL":
                    module, name = [None, None, *strings][-2:]
                    yield _modern(module, name) if module and name else "(a computed name)"
                    strings.append(None)
                elif opcode.name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
                    key = len(memo) if argument is None else int(argument)
                    memo[key] = strings[-1] if strings else None
                elif opcode.name in ("GET", "BINGET", "LONG_BINGET"):
                    strings.append(memo.get(int(argument or 0)))
                elif opcode.stack_after:
                    strings.append(argument if isinstance(argument, str) else None)
        except Exception:  # noqa: BLE001 - what follows a damaged byte cannot be told
            return


def _modern(module: str, name: str) -> str:
    """The name as torch understands it, which translates some of Python 2."""
    if (module, name) in NAME_MAPPING:
        module, name = NAME_MAPPING[module, name]
    return f"{IMPORT_MAPPING.get(module, module)}.{name}"
