"""The public names of the package."""

import subprocess
import sys
from importlib.metadata import version
from types import ModuleType

import pytest

import deepseek
from deepseek import compiler


@pytest.mark.parametrize("name", deepseek.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(deepseek, name) is not None
    assert name in dir(deepseek)


@pytest.mark.parametrize("name", compiler.__all__)
def test_every_name_of_the_compiler_is_there(name: str) -> None:
    assert getattr(compiler, name) is not None
    assert name in dir(compiler)


@pytest.mark.parametrize("package", [deepseek, compiler])
def test_an_unknown_name_is_an_attribute_error(package: ModuleType) -> None:
    with pytest.raises(AttributeError, match=f"'{package.__name__}' has no attribute 'quantise'"):
        package.quantise  # noqa: B018


def test_the_version_is_that_of_the_package() -> None:
    assert deepseek.__version__ == version("deepseek-toolkit")


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = "import sys, deepseek; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert {"torch", "numpy", "transformers", "importlib.metadata"}.isdisjoint(run.stdout.split())
