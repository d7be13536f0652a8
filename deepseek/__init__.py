"""Take transformer and vision models from training to serving on the machines people have.

Everything the command line does can be done from here. Public names are imported on first use,
so that ``import deepseek`` costs nothing and works where torch does not.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepseek.compiler.compile import compile  # noqa: A004 - as in torch
    from deepseek.compiler.explain import explain
    from deepseek.errors import DeepseekError, GateError, InputError
    from deepseek.formats.config import ConvertConfig
    from deepseek.formats.convert import convert
    from deepseek.formats.model import load
    from deepseek.quantization.config import QuantizeConfig
    from deepseek.quantization.quantize import quantize

    __version__: str

_HOMES = {
    "ConvertConfig": "deepseek.formats.config",
    "DeepseekError": "deepseek.errors",
    "GateError": "deepseek.errors",
    "InputError": "deepseek.errors",
    "QuantizeConfig": "deepseek.quantization.config",
    "__version__": "deepseek.versions",
    "compile": "deepseek.compiler.compile",
    "convert": "deepseek.formats.convert",
    "explain": "deepseek.compiler.explain",
    "load": "deepseek.formats.model",
    "quantize": "deepseek.quantization.quantize",
}

__all__ = [
    "ConvertConfig",
    "DeepseekError",
    "GateError",
    "InputError",
    "QuantizeConfig",
    "__version__",
    "compile",
    "convert",
    "explain",
    "load",
    "quantize",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'deepseek' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
