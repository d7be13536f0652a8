"""Take transformer and vision models from training to serving on the machines people have.

Everything the command line does can be done from here. Public names are imported on first use,
so that ``import deepseek`` costs nothing and works where torch does not.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepseek.errors import DeepseekError, GateError, InputError
    from deepseek.formats.model import load

try:
    __version__ = version("deepseek-toolkit")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"

_HOMES = {
    "DeepseekError": "deepseek.errors",
    "GateError": "deepseek.errors",
    "InputError": "deepseek.errors",
    "load": "deepseek.formats.model",
}

__all__ = ["DeepseekError", "GateError", "InputError", "__version__", "load"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'deepseek' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
