"""Who may import whom: arrows point down, and nothing goes round in a circle."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# A room may import itself, the ground, and the rooms listed for it, at module level or later.
GROUND = {
    "deepseek",
    "deepseek.errors",
    "deepseek.outputs",
    "deepseek.progress",
    "deepseek.units",
    "deepseek.versions",
}
BELOW: dict[str, set[str]] = {
    "ds_cli": {"deepseek.*"},
    "deepseek.quantization": {"deepseek.formats", "deepseek.data", "deepseek.nn"},
    "deepseek.training": {"deepseek.formats", "deepseek.data", "deepseek.distributed"},
    "deepseek.formats": {"deepseek.compiler", "deepseek.nn"},
    "deepseek.data": set(),
    "deepseek.distributed": set(),
    "deepseek.health": set(),
    "deepseek.compiler": {"deepseek.kernels", "deepseek.nn"},
    "deepseek.nn": {"deepseek.kernels"},
    "deepseek.kernels": set(),
}


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources() -> list[Path]:
    return sorted(file for top in ("deepseek", "ds_cli") for file in (ROOT / top).rglob("*.py"))


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[0] if parts[0] == "ds_cli" else ".".join(parts[:2])


def imports_of(tree: ast.AST) -> Iterator[str]:
    """The modules of ours that a syntax tree imports; each name as a module where it may be one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (
                    full
                    if (ROOT / Path(*full.split("."))).with_suffix(".py").exists()
                    else (node.module)
                )


def ours(names: Iterator[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] in ("deepseek", "ds_cli")}


@pytest.mark.parametrize("file", sources(), ids=module_of)
def test_a_module_imports_only_what_lies_below_its_room(file: Path) -> None:
    room = room_of(module_of(file))
    if room in GROUND:
        return
    allowed = {room} | GROUND | BELOW[room]
    rooms = {room_of(name) for name in ours(imports_of(ast.parse(file.read_text())))}
    if "deepseek.*" in allowed:
        return
    assert rooms <= allowed


def test_the_ground_imports_no_room() -> None:
    for module in GROUND - {"deepseek"}:
        file = (ROOT / Path(*module.split("."))).with_suffix(".py")
        assert ours(imports_of(ast.parse(file.read_text()))) <= GROUND


def test_rooms_have_no_cycles() -> None:
    graph = {room: below - {"deepseek.*"} for room, below in BELOW.items()}
    assert list(TopologicalSorter(graph).static_order())


def test_modules_have_no_cycles() -> None:
    graph: dict[str, set[str]] = {}
    for file in sources():
        tree = ast.parse(file.read_text())
        top_level = ast.Module(
            [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))], []
        )
        graph[module_of(file)] = ours(imports_of(top_level)) - {module_of(file)}
    assert list(TopologicalSorter(graph).static_order())


def test_health_imports_no_torch_at_module_level() -> None:
    for file in (ROOT / "deepseek" / "health").rglob("*.py"):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                module = node.module if isinstance(node, ast.ImportFrom) else None
                names = [module or "", *(alias.name for alias in node.names)]
                tops = {name.split(".")[0] for name in names}
                assert "torch" not in tops, f"{file.name}: {ast.unparse(node)}"


def test_every_public_module_has_all() -> None:
    def has_all(file: Path) -> bool:
        body = ast.parse(file.read_text()).body
        return any(isinstance(n, ast.Assign) and "__all__" in ast.unparse(n.targets[0])
                   for n in body)  # fmt: skip

    plain = [f for f in sources() if f.name != "__init__.py" and not f.name.startswith("_")]
    assert [module_of(f) for f in plain if not has_all(f)] == []


def test_no_file_outgrows_its_idea() -> None:
    long = {module_of(f): n for f in sources() if (n := len(f.read_text().splitlines())) > 400}
    assert long == {}
