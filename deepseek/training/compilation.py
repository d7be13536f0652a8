"""Compile a model for training, block by block, with any backend of torch.compile that is there.

Equal blocks share one compilation. Their forward functions are compiled, not the modules, so that
names of weights, and what happens around a call (gathering of shards, checks at the seams between
stages), stay as they are.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from deepseek.errors import InputError

__all__ = ["check_compiler", "compile_modules", "compiler_errors"]


def check_compiler(backend: str) -> None:
    """Refuse a compiler that is not there, before anything costs time.

    Raises:
        InputError: The backend is not installed, cannot be loaded, or lacks what it needs.
    """
    if backend == "inductor":
        cxx = os.environ.get("CXX", "g++")  # what inductor itself looks for
        if not torch.cuda.is_available() and shutil.which(cxx) is None:
            raise InputError(
                f"expected a C++ compiler for --compile inductor, found no {cxx}",
                hint="install g++, or name another in CXX; --compile none trains without",
            )
    elif backend != "none":
        _check_registered(backend)


def _check_registered(backend: str) -> None:
    # Takes seconds to import, which only those who compile should wait for.
    from torch._dynamo.backends.registry import lookup_backend
    from torch._dynamo.exc import InvalidBackend

    hint = "--compile inductor, or --compile none"
    try:
        lookup_backend(backend)
    except InvalidBackend as error:
        raise InputError(
            f"expected a backend of torch.compile for --compile {backend}, none of that name is "
            "installed",
            hint=hint,
        ) from error
    except ImportError as error:
        raise InputError(
            f"--compile {backend}: the backend cannot be loaded: {error}", hint=hint
        ) from error


def compile_modules(modules: Sequence[nn.Module], backend: str) -> None:
    """Let each module be compiled when it is first called; names of weights do not change."""
    for module in modules:
        module.forward = torch.compile(module.forward, backend=backend)


@contextmanager
def compiler_errors(backend: str) -> Iterator[None]:
    """What a compiler cannot do is the user's to decide about: one line, not a traceback.

    Raises:
        InputError: In place of the compiler's error.
    """
    if backend == "none":
        yield
        return
    from torch._dynamo.exc import BackendCompilerFailed

    try:
        yield
    except BackendCompilerFailed as error:
        inner = error.inner_exception
        reason = next((line.strip() for line in str(inner).splitlines() if line.strip()), "")
        raise InputError(
            f"--compile {backend} failed: {type(inner).__name__}: {reason[:200]}",
            hint="--compile none trains without",
        ) from error
