"""A machine made of a folder of files and canned answers."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from deepseek.health.machine import Machine
from deepseek.health.programs import Ran

Fake = Callable[..., Machine]

TORCH = {
    "version": "2.13.0+cpu",
    "seconds": 1.5,
    "capability": "AVX2",
    "threads": 2,
    "cuda": None,
    "nccl": None,
    "gloo": {"seconds": 0.001, "bytes": 16384},
}


def _answer(command: Sequence[str], answers: Mapping[str, Any]) -> Ran:
    """Probes go by file name and arguments, other programs by name."""
    is_probe = len(command) > 2 and command[1] == "-P"
    name = " ".join([Path(command[2]).stem, *command[3:]]) if is_probe else command[0]
    answer = answers.get(name, answers.get(name.split()[0]))
    if isinstance(answer, dict):
        return Ran(code=0, out=f"noise\n{json.dumps(answer)}\n", err=answer.get("stderr", ""))
    if answer is not None:
        assert isinstance(answer, Ran)
        return answer
    if is_probe:
        err = f"Traceback (most recent call last):\n  x\nModuleNotFoundError: No module {name!r}\n"
        return Ran(code=1, err=err)
    return Ran(code=None, err=f"{name}: No such file or directory")


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    """Build a machine: files by absolute path, answers by program or probe."""

    def make(
        files: Mapping[str, str | bytes] | None = None,
        answers: Mapping[str, Any] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        architecture: str = "x86_64",
        cpus: Sequence[int] = (0, 1),
        free: tuple[int, int] = (50 * 10**9, 100 * 10**9),
    ) -> Machine:
        root = tmp_path / "root"
        root.mkdir(exist_ok=True)
        for name, content in (files or {}).items():
            path = root / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return Machine(
            root=root,
            environ=environ or {},
            architecture=architecture,
            affinity=frozenset(cpus),
            free=lambda folder: free,
            run=lambda command, environ, limit: _answer(command, answers or {}),
        )

    return make


@pytest.fixture
def torch_answer() -> Callable[..., dict[str, Any]]:
    """What the torch probe says, with some of it changed."""
    return lambda **changes: {"torch_facts": TORCH | changes}
