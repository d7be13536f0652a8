"""Benchmarks, which no test runs whole, keep up with the code that they measure."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "benchmarks").rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[tuple[str, str, str]]:
    """Module, name in it, and name here, of all that a script imports from the toolkit."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("deepseek"):
            for alias in node.names:
                yield node.module or "", alias.name, alias.asname or alias.name


def lookup(module: str, name: str) -> object:
    found = importlib.import_module(module)
    return getattr(found, name) if hasattr(found, name) else importlib.import_module(
        f"{module}.{name}"
    )  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_benchmark_uses_what_there_is(script: Path) -> None:
    tree = ast.parse(script.read_text())
    found = {here: lookup(module, name) for module, name, here in imported(tree)}
    modules = {name: each for name, each in found.items() if isinstance(each, ModuleType)}
    missing = [
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in modules
        and not hasattr(modules[node.value.id], node.attr)
    ]
    assert missing == []
