"""What a captured graph depends on, as one key.

That is the model's classes and their sources, the attributes of every module with all they refer
to, the names, shapes and dtypes of parameters and buffers (not their content, which no graph
holds), the kind of the inputs, and the versions of what captures. Code in installed packages is
known by file and version; where a class of the model is not from an installed package, every module
outside of those counts as its source.
"""

from __future__ import annotations

import sys
import sysconfig
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from deepseek.compiler.kept.description import CannotDescribeError, Describer, name_of
from deepseek.versions import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deepseek.compiler.capture import Inputs

__all__ = ["identity", "named_tensors"]

_TREES = frozenset(("_parameters", "_buffers", "_modules"))  # looked at on their own
_OWN = Path(__file__).resolve().parents[2]
_PACKAGES = frozenset(("site-packages", "dist-packages"))  # another environment's, by way of a path


def identity(model: nn.Module, inputs: Inputs) -> str:
    """The key of the graphs of a model for inputs of one kind.

    Raises:
        CannotDescribeError: Something may matter that cannot be seen.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    describe = Describer({id(module): name for name, module in modules.items()})
    facts = (
        __version__, torch.__version__, sys.version_info[:3], _own_sources(),
        str(torch.get_default_dtype()), torch.are_deterministic_algorithms_enabled(),
        tuple(_sources(modules)),
        tuple(_module(describe, name, module) for name, module in modules.items()),
        tuple(_tensors(model)),
        str(inputs.tree), tuple(_input(describe, leaf) for leaf in inputs.leaves),
    )  # fmt: skip
    return sha256(repr(facts).encode()).hexdigest()


def _module(describe: Describer, name: str, module: nn.Module) -> Any:
    """A module's class and attributes; parameters and modules below it are facts of their own."""
    state = {key: value for key, value in vars(module).items() if key not in _TREES}
    forward = getattr(type(module).forward, "__code__", None)
    code = (forward.co_filename, forward.co_firstlineno) if forward is not None else ()
    missing = [
        key for key, value in (module._parameters | module._buffers).items() if value is None  # noqa: SLF001
    ]  # fmt: skip
    return name, name_of(type(module)), code, missing, describe.items(state)


def _tensors(model: nn.Module) -> Iterator[Any]:
    """Names and looks of parameters and buffers, and which of them are the same tensor."""
    first: dict[int, str] = {}
    for name, tensor in named_tensors(model):
        same = first.setdefault(id(tensor), name)
        look = str(tensor.dtype), tuple(tensor.shape), tensor.stride(), str(tensor.device)
        yield name, same, name_of(type(tensor)), *look


def named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers, shared ones under each of their names."""
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def _input(describe: Describer, leaf: Any) -> Any:
    """An input: of a tensor all but its content, sizes only as far as they are 0 or 1."""
    if not isinstance(leaf, Tensor):
        return describe(leaf)
    sizes = [size if size < 2 else "n" for size in leaf.shape]
    return name_of(type(leaf)), str(leaf.dtype), str(leaf.device), sizes


def _sources(modules: dict[str, nn.Module]) -> Iterator[Any]:
    """The files in which the classes of a model are written, and the versions of their packages."""
    classes = {base for module in modules.values() for base in type(module).__mro__[:-1]}
    homes = {class_.__module__ for class_ in classes}
    for home in sorted(homes):
        package = sys.modules.get(home.partition(".")[0])
        yield home, getattr(package, "__version__", None), _stamp(home)
    if not all(_is_installed(home) for home in homes):
        for name in sorted(name for name in list(sys.modules) if not _is_installed(name)):
            if not name.startswith(("deepseek", "ds_cli")):
                yield name, _stamp(name)


def _stamp(module: str) -> Any:
    """Size and time of a module's file.

    Raises:
        CannotDescribeError: It has none: it was typed in, or made by a program.
    """
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        raise CannotDescribeError(f"{module} has no source file")
    status = Path(file).stat()
    return file, status.st_size, status.st_mtime_ns


def _is_installed(name: str) -> bool:
    """Whether a module is Python's or a package's; one without a file, or a path to it, is that."""
    if name == "__main__":
        return False
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None or file.startswith(_installed()):
        return True
    path = Path(file)
    return not path.is_absolute() or not _PACKAGES.isdisjoint(path.parts)


@cache
def _installed() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple({paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")})


@cache
def _own_sources() -> str:
    """A digest of times and sizes of the files that capture and read graphs."""
    files = sorted(file for room in ("compiler", "nn") for file in (_OWN / room).rglob("*.py"))
    stamps = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return sha256(repr(stamps).encode()).hexdigest()
