"""The documentation keeps up with the code."""

import re
import tomllib
from pathlib import Path

import pytest

from ds_cli.fields import fields_of
from ds_cli.main import COMMANDS, load

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "deepseek").rglob("README.md")]
)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def scripts() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = project["scripts"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_page_that_names_every_option(name: str) -> None:
    text = (ROOT / "docs" / f"{name.split(maxsplit=1)[0]}.md").read_text()
    command = load(name)
    options = [f"--{key}" for key in fields_of(command.config) if key not in command.positional]
    assert [option for option in options if option not in text] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_a_program_of_its_own(name: str) -> None:
    program = name.split(maxsplit=1)[0]
    assert scripts()[f"deepseek-{program}"] == f"ds_cli.main:{program.replace('-', '_')}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_preset_is_accepted_by_its_command(name: str) -> None:
    from ds_cli.settings import preset_layer, resolve

    command = load(name)
    required = {
        key: str(ROOT) for key, field in fields_of(command.config).items() if field.required
    }
    for file in (ROOT / "deepseek" / "configs").joinpath(*name.split()).glob("*.toml"):
        layer = preset_layer(name, file.stem)
        from ds_cli.settings import Layer

        resolve(command.config, [Layer(source="the test", values=required), layer])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = [t for t in LINK.findall(page.read_text()) if not t.startswith(("http:", "https:"))]
    assert [t for t in targets if not (page.parent / t).exists()] == []


def test_every_dependency_is_explained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(d for e in extras if e != "dev" for d in extras[e])]
    names = {re.split(r"[<>=;\[ ]", line)[0].removesuffix("-gpu") for line in wanted}
    architecture = (ROOT / "docs" / "architecture.md").read_text()
    assert sorted(name for name in names if name not in architecture) == []


def test_make_alone_lists_every_target_of_the_readme() -> None:
    import subprocess

    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    named = set(re.findall(r"\bmake ([a-z][a-z-]+)\b", (ROOT / "README.md").read_text()))
    assert {"demo", "test"} <= named
    assert [target for target in named if f"make {target} " not in listed] == []
