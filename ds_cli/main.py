"""The entry points: ``deepseek COMMAND`` and, for each command, ``deepseek-COMMAND``."""

import signal
import sys
from functools import partial
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from ds_cli.command import CONTEXT, Command
from ds_cli.console import Talk
from ds_cli.outcome import ExitCode

__all__ = ["COMMANDS", "convert", "doctor", "load", "main", "quantize", "run", "train"]

# Every command with its one line of help. The module is ds_cli.commands.<name>; it is imported
# when the command is called, and not before.
COMMANDS = {
    "convert": "Turn a checkpoint into another format, and prove the result.",
    "doctor": "Say whether this machine is fit for the work.",
    "quantize": "Shrink a model to INT8 within an accuracy budget.",
    "train": "Train a model: sharded, pipelined, resumable.",
}


def load(name: str) -> Command:
    """Import the module of a command and give the command."""
    command = import_module(f"ds_cli.commands.{name.replace('-', '_')}").COMMAND
    assert isinstance(command, Command)
    return command


class _LazyGroup(TyperGroup):
    """Knows every command by name and summary; imports the one that is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, summary in COMMANDS.items():
            self.add_command(TyperCommand(name, help=summary))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name = args[0].replace("_", "-")
        if name in COMMANDS:
            self.add_command(get_command(load(name).to_typer()), name)
            args = [name, *args[1:]]
        return super().resolve_command(ctx, args)


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
    app = typer.Typer(cls=_LazyGroup, rich_markup_mode="rich")

    @app.callback(invoke_without_command=True, context_settings=CONTEXT)
    def deepseek(ctx: typer.Context, version: _Version = False) -> None:
        """Take transformer and vision models from training to serving, CPUs first."""
        if ctx.invoked_subcommand is None and not version:
            typer.echo(ctx.get_help())

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
    sys.exit(run(app, program, arguments))


def main(arguments: list[str] | None = None) -> None:
    """Run ``deepseek``; ends the process with the command's exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    name = words[0].replace("_", "-") if words else ""
    if name in COMMANDS:
        # Past the group: checking the group's own options would import pydantic for every help.
        _end_process(load(name).to_typer(), f"deepseek {name}", words[1:])
    _end_process(_app(), "deepseek", words)


def _stand_alone(name: str, arguments: list[str] | None = None) -> None:
    _end_process(load(name).to_typer(stand_alone=True), f"deepseek-{name}", arguments)


convert = partial(_stand_alone, "convert")
doctor = partial(_stand_alone, "doctor")
quantize = partial(_stand_alone, "quantize")
train = partial(_stand_alone, "train")
