"""What ``deepseek.data`` offers, and that the offer costs nothing."""

import subprocess
import sys

import pytest

import deepseek.data


def test_every_name_is_there() -> None:
    assert dir(deepseek.data) == sorted(deepseek.data.__all__)
    assert [name for name in deepseek.data.__all__ if not hasattr(deepseek.data, name)] == []
    with pytest.raises(AttributeError, match="has no attribute 'Packed'"):
        deepseek.data.Packed  # noqa: B018


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("deepseek.data", {"torch", "numpy", "pydantic", "pyarrow"}),
        ("deepseek.data.config", {"torch", "numpy", "pydantic", "pyarrow"}),
        # workers that tokenize begin in a tenth of the time that torch takes to load
        ("deepseek.data.packing.pack", {"torch", "transformers", "tokenizers", "pyarrow"}),
    ],
)
def test_imports_are_light(module: str, absent: set[str]) -> None:
    program = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert absent.isdisjoint(run.stdout.split())
