"""From a module to a function that can be called.

Every module is verified before it is compiled. LLVM's optimisation passes are left out: the emitter
already writes what they would produce, and code generation alone takes a third of the time. Object
code is kept in memory, and on disk by :mod:`deepseek.kernels.cache`.

``DEEPSEEK_DUMP_IR=directory`` writes the IR and the assembly of every kernel that is used, under
the kernel's name, which is also its symbol in a debugger.
"""

from __future__ import annotations

import ctypes
import os
import threading
from dataclasses import dataclass, field
from functools import cache, lru_cache
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llvmlite import binding

from deepseek import __version__
from deepseek.kernels.cache import default_cache
from deepseek.kernels.target import Target, current, host

if TYPE_CHECKING:
    from collections.abc import Callable

    from deepseek.kernels.emit import Module

__all__ = ["Kernel", "assembly", "compile_module", "compile_text", "kernel", "object_code"]

_SIGNATURE = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_int64, ctypes.c_int64)
_lock = threading.RLock()
_kernels: dict[tuple[object, ...], Kernel] = {}
_library_numbers = count()


@dataclass(frozen=True, slots=True)
class Kernel:
    """A compiled task function.

    Attributes:
        name: Its symbol.
        address: Where its code begins.
        call: Run it: packed arguments, first unit, end. Releases the GIL.
    """

    name: str
    address: int
    call: Callable[[bytes, int, int], None]
    _library: object = field(repr=False)  # the code lives as long as this does


def kernel(build: Callable[..., Module], *options: Any, target: Target | None = None) -> Kernel:
    """The kernel that ``build(target, *options)`` describes, compiled at most once.

    In memory a kernel is found by ``build``, the options and the target. On disk it is found by
    those and by the sources of this package, so that a known kernel is loaded without building
    its IR again.

    Args:
        build: A function of this package that returns a module whose task has the module's name.
        *options: Hashable, with a ``repr`` that tells them apart.
        target: What to compile for; the process's target unless given.
    """
    chosen = target or current()
    key = (build, options, chosen)
    found = _kernels.get(key)
    if found is not None:
        return found
    with _lock:
        if key not in _kernels:
            recipe = f"{build.__module__}.{build.__qualname__}{options!r}"
            _kernels[key] = _load(chosen, _sources() + recipe, lambda: build(chosen, *options))
        return _kernels[key]


def compile_module(module: Module) -> Kernel:
    """The kernel of a module that is already built; on disk it is found by its IR."""
    return compile_text(module.name, str(module), module.target)


def compile_text(name: str, text: str, target: Target | None = None) -> Kernel:
    """The function called ``name`` of a module of textual IR."""
    chosen = target or current()
    key = (name, text, chosen)
    with _lock:
        if key not in _kernels:
            _kernels[key] = _link(name, _stored(chosen, text, lambda: (name, text))[1])
        return _kernels[key]


def object_code(text: str, target: Target) -> bytes:
    """Verify a module and generate code for it; the target need not be this machine.

    Raises:
        RuntimeError: The IR is not valid: a defect of the kernel's source.
    """
    machine = _target_machine(target)
    with _parsed(text) as module:
        return bytes(machine.emit_object(module))


def assembly(text: str, target: Target) -> str:
    """The assembly of a module."""
    machine = _target_machine(target)
    with _parsed(text) as module:
        return str(machine.emit_assembly(module))


def _load(target: Target, identity: str, build: Callable[[], Module]) -> Kernel:
    def named() -> tuple[str, str]:
        module = build()
        return module.name, str(module)

    return _link(*_stored(target, identity, named))


def _stored(
    target: Target, identity: str, text: Callable[[], tuple[str, str]]
) -> tuple[str, bytes]:
    """Name and object code, from the disk where they are there, else built and stored."""
    key = _key(target, identity)
    dump = os.environ.get("DEEPSEEK_DUMP_IR")
    objects = default_cache()
    content = None if dump else objects.get(key)
    if content is not None:
        stored_name, _, code = content.partition(b"\0")
        return stored_name.decode(), code
    name, source = text()
    if dump:
        _dump(Path(dump), name, source, target)
    code = object_code(source, target)
    objects.put(key, name.encode() + b"\0" + code)
    return name, code


def _key(target: Target, identity: str) -> str:
    parts = (identity, target.triple, target.cpu, target.features, _llvm_version(), __version__)
    return sha256("\0".join(parts).encode()).hexdigest()


def _link(name: str, code: bytes) -> Kernel:
    library = binding.JITLibraryBuilder().add_object_img(code).export_symbol(name)
    loaded = library.link(_compiler(), f"{name}.{next(_library_numbers)}")
    return Kernel(name, loaded[name], _SIGNATURE(loaded[name]), loaded)


def _dump(directory: Path, name: str, text: str, target: Target) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.ll").write_text(text)
    (directory / f"{name}.s").write_text(assembly(text, target))


@lru_cache(maxsize=1)
def _sources() -> str:
    """A digest of everything that decides what IR a kernel becomes."""
    digest = sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _llvm_version() -> str:
    return ".".join(map(str, binding.llvm_version_info))


def _parsed(text: str) -> Any:
    module = binding.parse_assembly(text, binding.create_context())
    module.verify()
    return module


@cache
def _target_machine(target: Target) -> Any:
    if target.architecture == host().architecture:
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
    else:
        binding.initialize_all_targets()
        binding.initialize_all_asmprinters()
    machine = binding.Target.from_triple(target.triple)
    return machine.create_target_machine(
        cpu=target.cpu, features=target.features, opt=3, reloc="pic", codemodel="default"
    )


@lru_cache(maxsize=1)
def _compiler() -> Any:
    # The older linker asks for each section's memory by itself. Between two of them may lie more
    # than the 2 GiB that code can reach, as soon as somebody reserves that much: it aborts then.
    return binding.create_lljit_compiler(_target_machine(host()), use_jit_link=True)
