"""The entry points: ``deepseek COMMAND`` and, for each command, ``deepseek-COMMAND``."""

import signal
import sys
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from ds_cli.command import CONTEXT
from ds_cli.console import Talk
from ds_cli.outcome import ExitCode

__all__ = ["COMMANDS", "convert", "doctor", "main", "quantize"]


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where a command lives and what it is for, so that help need not load it."""

    module: str
    summary: str


COMMANDS = {
    "convert": _Entry("ds_cli.commands.convert", "Turn a checkpoint into another format, and prove it."),
    "doctor": _Entry("ds_cli.commands.doctor", "Say whether this machine is fit for the work."),
    "quantize": _Entry("ds_cli.commands.quantize", "Shrink a model to INT8 within an accuracy budget."),
}  # fmt: skip


def _load(name: str) -> Any:
    return get_command(import_module(COMMANDS[name].module).COMMAND.to_typer())


class _LazyGroup(TyperGroup):
    """Knows every command by name and summary; imports the one that is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, entry in COMMANDS.items():
            self.add_command(TyperCommand(name, help=entry.summary))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name = args[0].replace("_", "-")
        if name in COMMANDS:
            self.add_command(_load(name), name)
        return super().resolve_command(ctx, [name, *args[1:]])


def _version(asked: bool) -> None:
    if asked:
        from ds_cli.version import version_text

        typer.echo(version_text())
        raise typer.Exit


def _app() -> typer.Typer:
    app = typer.Typer(cls=_LazyGroup, rich_markup_mode="rich", no_args_is_help=False)

    @app.callback(invoke_without_command=True, context_settings=CONTEXT)
    def deepseek(
        ctx: typer.Context,
        version: Annotated[
            bool,
            typer.Option("--version", callback=_version, is_eager=True,
                         help="Print the versions that matter and stop."),
        ] = False,
    ) -> None:  # fmt: skip
        """Take transformer and vision models from training to serving, CPUs first."""
        if ctx.invoked_subcommand is None and not version:
            typer.echo(ctx.get_help())

    return app


def _run(command: Any, program: str, arguments: list[str] | None) -> int:
    # A polite kill unwinds like Ctrl-C does, so that half-written outputs are removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = command.main(args=arguments, prog_name=program, standalone_mode=False)
    except typer.TyperException as error:
        _usage_error(error, program)
        return ExitCode.BAD_INPUT
    return int(code or ExitCode.DONE)


def _usage_error(error: typer.TyperException, program: str) -> None:
    message = " ".join(error.format_message().split())
    message = message[:1].lower() + message[1:]
    Talk().error(message, f"{program} --help lists what there is")


def main(arguments: list[str] | None = None) -> None:
    """Run ``deepseek``; ends the process with the command's exit code."""
    sys.exit(_run(get_command(_app()), "deepseek", arguments))


def _stand_alone(name: str, arguments: list[str] | None = None) -> None:
    """Run one command as a program of its own."""
    sys.exit(_run(_load(name), f"deepseek-{name}", arguments))


convert = partial(_stand_alone, "convert")
doctor = partial(_stand_alone, "doctor")
quantize = partial(_stand_alone, "quantize")
