"""Help answers at once: no heavy package is imported for it."""

import json
import resource
import subprocess
import sys

import pytest

from ds_cli.main import COMMANDS, GROUPS, load

HEAVY = {"torch", "onnx", "onnxruntime", "onnxscript", "transformers", "tokenizers", "llvmlite",
         "numpy", "pydantic", "pyarrow", "psutil"}  # fmt: skip
CALLS = [[], *([name] for name in GROUPS), *(name.split() for name in COMMANDS)]
PLAIN = """
import typer
app = typer.Typer()
@app.command()
def plain(option: int = 1) -> None: "Nothing."
app(["--help"])
"""
TIMES_A_PLAIN_PROGRAM = 3

PROGRAM = """
import json, sys
from ds_cli.main import main
try:
    main({arguments!r})
except SystemExit as end:
    print(json.dumps([end.code, sorted(sys.modules)]), file=sys.stderr)
"""


def cpu_seconds(*command: str) -> float:
    """The CPU time of one run of a command, its children included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("arguments", CALLS, ids=str)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(arguments=[*arguments, "--help"])],
        capture_output=True,
        text=True,
        check=True,
    )
    code, modules = json.loads(run.stderr)
    assert code == 0
    assert "Usage:" in run.stdout
    assert HEAVY.isdisjoint(modules)


@pytest.mark.parametrize("arguments", CALLS, ids=str)
def test_help_costs_little(arguments: list[str]) -> None:
    program = f"from ds_cli.main import main; main({[*arguments, '--help']!r})"
    # A busy machine makes the same work cost more: what counts is the least that was seen of both.
    plain, ours = float("inf"), float("inf")
    for _ in range(10):
        plain = min(plain, cpu_seconds(sys.executable, "-c", PLAIN))
        ours = min(ours, cpu_seconds(sys.executable, "-c", program))
        if ours < TIMES_A_PLAIN_PROGRAM * plain:
            return
    pytest.fail(f"{ours:.2f} s of CPU, and {plain:.2f} of a program with one option")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_every_flag_has_help(name: str) -> None:
    from ds_cli.fields import fields_of

    command = load(name)
    assert command.name == name
    assert command.run.__doc__
    silent = [key for key, field in fields_of(command.config).items() if not field.help]
    assert silent == []
