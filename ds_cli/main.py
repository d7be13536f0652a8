"""The entry points: ``deepseek COMMAND`` and, for each command, ``deepseek-COMMAND``.

A command of two words, ``data pack``, belongs to the group of the first; the group has a program.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from ds_cli.command import CONTEXT, Command
from ds_cli.console import Talk
from ds_cli.outcome import ExitCode

__all__ = [
    "COMMANDS", "GROUPS", "compile", "convert", "data", "doctor", "load", "main", "quantize",
    "run", "train",
]  # fmt: skip

# Every command with its one line of help. The module is ds_cli.commands.<name>, a dot between two
# words; it is imported when the command is called, and not before.
COMMANDS = {
    "compile": "Compile a model into a program of kernels, and prove the result.",
    "convert": "Turn a checkpoint into another format, and prove the result.",
    "data inspect": "Say what a packed data set holds, and whether it is whole.",
    "data pack": "Turn files into a data set that is read without being copied.",
    "doctor": "Say whether this machine is fit for the work.",
    "quantize": "Shrink a model to INT8 within an accuracy budget.",
    "train": "Train a model: sharded, pipelined, resumable.",
}

GROUPS = {
    "data": "Pack data for training, and look into what was packed.",
}


def load(name: str) -> Command:
    """Import the module of a command and give the command."""
    module = name.replace("-", "_").replace(" ", ".")
    command = import_module(f"ds_cli.commands.{module}").COMMAND
    assert isinstance(command, Command)
    return command


def _members(group: str) -> dict[str, str]:
    """What can be typed after ``group`` (or, where that is empty, first), with its help."""
    if group:
        prefix = f"{group} "
        members = {n.removeprefix(prefix): h for n, h in COMMANDS.items() if n.startswith(prefix)}
    else:
        members = {name: text for name, text in COMMANDS.items() if " " not in name} | GROUPS
    return dict(sorted(members.items()))


def _lazy_group(group: str) -> type[TyperGroup]:
    """A group that knows its commands by name and summary, and imports the one that is called."""
    members = _members(group)

    class LazyGroup(TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            for name, summary in members.items():
                self.add_command(TyperCommand(name, help=summary))

        def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
            name = args[0].replace("_", "-")
            if name in members:
                self.add_command(get_command(_app_of(f"{group} {name}".strip())), name)
                args = [name, *args[1:]]
            return super().resolve_command(ctx, args)

    return LazyGroup


def _print_version(asked: bool) -> None:
    if asked:
        from ds_cli.version import version_text

        typer.echo(version_text())
        raise typer.Exit


_Version = Annotated[
    bool,
    typer.Option(
        "--version",
        callback=_print_version,
        is_eager=True,
        help="Print the versions that matter and stop.",
    ),
]


def _app() -> typer.Typer:
    app = typer.Typer(cls=_lazy_group(""), rich_markup_mode="rich")

    @app.callback(invoke_without_command=True, context_settings=CONTEXT)
    def deepseek(ctx: typer.Context, version: _Version = False) -> None:
        """Take transformer and vision models from training to serving, CPUs first."""
        if ctx.invoked_subcommand is None and not version:
            typer.echo(ctx.get_help())

    return app


def _app_of(name: str, *, stand_alone: bool = False) -> typer.Typer:
    """The application of a command or a group."""
    if name not in GROUPS:
        return load(name).to_typer(stand_alone=stand_alone)
    app = typer.Typer(cls=_lazy_group(name), add_completion=stand_alone, rich_markup_mode="rich")

    def group(ctx: typer.Context) -> None:
        if ctx.invoked_subcommand is None:
            typer.echo(ctx.get_help())

    declare = app.callback(invoke_without_command=True, help=GROUPS[name], context_settings=CONTEXT)
    declare(group)
    return app


def run(app: typer.Typer, program: str, arguments: list[str] | None) -> int:
    """Run an application under the name of ``program``; the exit code comes back."""
    try:
        code = get_command(app).main(arguments, prog_name=program, standalone_mode=False)
    except typer.TyperException as error:
        message = " ".join(error.format_message().split())
        Talk().error(message[:1].lower() + message[1:], f"{program} --help lists what there is")
        return ExitCode.BAD_INPUT
    return int(code or ExitCode.DONE)


def _end_process(app: typer.Typer, program: str, arguments: list[str] | None) -> NoReturn:
    # A polite kill unwinds like Ctrl-C does, so that half-written outputs are removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    words = sys.argv[1:] if arguments is None else arguments
    asked_for_help = not {"--help", "-h"}.isdisjoint(words)
    with _without_markdown() if asked_for_help else nullcontext():
        code = run(app, program, arguments)
    sys.exit(code)


@contextmanager
def _without_markdown() -> Iterator[None]:
    """Spare help the import of rich's Markdown: 40 ms for a kind of help that we do not have."""
    name = "rich.markdown"
    if name in sys.modules:
        yield
        return
    stand_in = ModuleType(name)
    stand_in.__dict__["Markdown"] = None
    sys.modules[name] = stand_in
    try:
        yield
    finally:
        sys.modules.pop(name, None)


def main(arguments: list[str] | None = None) -> None:
    """Run ``deepseek``; ends the process with the command's exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    for count in (2, 1):
        name = " ".join(words[:count]).replace("_", "-")
        if name in COMMANDS or name in GROUPS:
            # Past what is above: checking its own options would import pydantic for every help.
            _end_process(_app_of(name), f"deepseek {name}", words[count:])
    _end_process(_app(), "deepseek", words)


def _stand_alone(name: str, arguments: list[str] | None = None) -> None:
    _end_process(_app_of(name, stand_alone=True), f"deepseek-{name}", arguments)


compile = partial(_stand_alone, "compile")  # noqa: A001 - the name of its program
convert = partial(_stand_alone, "convert")
data = partial(_stand_alone, "data")
doctor = partial(_stand_alone, "doctor")
quantize = partial(_stand_alone, "quantize")
train = partial(_stand_alone, "train")
