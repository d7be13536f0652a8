"""A command: a configuration dataclass, a function from it to an outcome, and nothing else.

The flags, their help, the environment variables and the keys of configuration files all come from
the dataclass. The options that every command has (``--json``, ``--config`` …) are added here.
"""

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from deepseek.errors import InputError
from ds_cli import settings
from ds_cli.console import Talk
from ds_cli.errors import guarded
from ds_cli.fields import ConfigField, fields_of
from ds_cli.outcome import ExitCode, Outcome
from ds_cli.print_config import config_as_toml

__all__ = ["Command", "Instead"]

_METAVARS = {int: "INT", float: "NUMBER", Path: "PATH", str: "TEXT"}
_COMMON = "Options of every command"


@dataclass(frozen=True, kw_only=True)
class Instead:
    """A flag with two paths that makes a command do something else, without its configuration.

    Attributes:
        flag: Without dashes.
        help: One line for people.
        run: The two paths and the streams in, the outcome out.
    """

    flag: str
    help: str
    run: Callable[[tuple[Path, Path], Talk], Outcome]


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command of the command line.

    Attributes:
        name: As typed: ``serve-bench``, ``data pack``.
        config: The configuration dataclass of the library.
        run: The configuration and the streams in, the outcome out. Its docstring is the help.
        positional: Keys that are given by place rather than by flag.
        instead: What it does instead where another flag is given.
    """

    name: str
    config: type
    run: Callable[[Any, Talk], Outcome]
    positional: tuple[str, ...] = ()
    instead: Instead | None = None

    def to_typer(self, *, stand_alone: bool = False) -> typer.Typer:
        """The command as a Typer application of one command.

        Args:
            stand_alone: Whether it is a program of its own, which can install its completion.
        """
        app = typer.Typer(add_completion=stand_alone, rich_markup_mode="rich")
        app.command(name=self.name, help=inspect.getdoc(self.run), context_settings=CONTEXT)(
            self._callback()
        )
        return app

    def _callback(self) -> Callable[..., int]:
        fields = fields_of(self.config)
        keys = {_parameter_name(key): key for key in fields}

        def callback(**arguments: Any) -> int:
            common = {name: arguments.pop(name) for name in _COMMON_OPTIONS}
            if self.instead is not None and (paths := arguments.pop(self.instead.flag)):
                return self._do_instead(self.instead, paths, **common)
            flags = {keys[name]: value for name, value in arguments.items() if value is not None}
            return self._execute(flags, **common)

        parameters = [*self._parameters(fields), *self._instead(), *_common_parameters()]
        callback.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            parameters, return_annotation=int
        )
        callback.__annotations__ = {p.name: p.annotation for p in parameters}
        return callback

    def _parameters(self, fields: Mapping[str, ConfigField]) -> Iterator[inspect.Parameter]:
        # What must be given is listed first; all else keeps the order of the dataclass.
        for key, field in sorted(fields.items(), key=lambda item: not item[1].required):
            info = _argument(field) if key in self.positional else _option(field)
            yield _parameter(_parameter_name(key), Annotated[_typer_type(field), info])

    def _instead(self) -> Iterator[inspect.Parameter]:
        if self.instead is not None:
            option = typer.Option(
                f"--{self.instead.flag}", help=self.instead.help, metavar="PATH PATH"
            )
            yield _parameter(self.instead.flag, Annotated[tuple[Path, Path] | None, option])

    def _do_instead(
        self,
        instead: Instead,
        paths: tuple[Path, Path],
        *,
        json: bool,
        quiet: bool,
        debug: bool,
        **_others: Any,
    ) -> int:
        talk = Talk(as_json=json, quiet=quiet)

        def work() -> ExitCode:
            talk.result(instead.run(paths, talk))
            return ExitCode.DONE

        return guarded(work, talk, debug=debug)

    def _spell(self, key: str) -> str:
        return key.upper() if key in self.positional else f"--{key}"

    def _sort_config_files(self, paths: Iterable[Path]) -> tuple[list[Path], dict[str, Path]]:
        """Tell files of settings from the one configuration of a model that ``--config`` may name.

        Settings are TOML; a model's configuration is JSON, or the folder that holds it.
        """
        takes_model = "model_config" in fields_of(self.config)
        files = [path for path in paths if path.suffix == ".toml" or not takes_model]
        models = [path for path in paths if path not in files]
        if len(models) > 1:
            raise InputError(f"expected one model configuration, got {len(models)} by --config")
        return files, {"model_config": models[0]} if models else {}

    def _execute(
        self,
        flags: Mapping[str, Any],
        *,
        preset: str | None,
        config: list[Path] | None,
        set_: list[str] | None,
        print_config: bool,
        json: bool,
        quiet: bool,
        debug: bool,
    ) -> int:
        talk = Talk(as_json=json, quiet=quiet)

        def work() -> ExitCode:
            files, model_config = self._sort_config_files(config or [])
            given = {**flags, **model_config}
            layers = [
                *([settings.preset_layer(self.name, preset)] if preset else []),
                *(settings.file_layer(path) for path in files),
                settings.environment_layer(
                    self.name.replace("-", "_").replace(" ", "_"), os.environ
                ),
                settings.set_layer(set_ or []),
                settings.Layer(source="the command line", values=given, spell=self._spell),
            ]
            resolved = settings.resolve(self.config, layers, self.positional)
            if print_config:
                outcome = config_as_toml(self.name, resolved)
            else:
                outcome = self.run(resolved.config, talk)
            talk.result(outcome)
            return ExitCode.DONE if outcome.passed else ExitCode.GATE_FAILED

        return guarded(work, talk, debug=debug)


CONTEXT = {
    "help_option_names": ["--help", "-h"],
    "token_normalize_func": lambda token: token.replace("-", "_"),
}


def _common(kind: Any, declaration: str, help: str, metavar: str = "") -> Any:  # noqa: A002
    return Annotated[
        kind, typer.Option(declaration, help=help, metavar=metavar, rich_help_panel=_COMMON)
    ]


_COMMON_OPTIONS = {
    "preset": _common(
        str | None, "--preset", "A named set of values that comes with the toolkit.", "NAME"
    ),
    "config": _common(
        list[Path] | None,
        "--config",
        "A TOML file of values, stronger than the preset; for commands that take a model, "
        "its config.json as well.",
        "FILE",
    ),
    "set_": _common(list[str] | None, "--set", "One value by its key; repeatable.", "KEY=VALUE"),
    "print_config": _common(bool, "--print_config", "Print the resulting configuration and stop."),
    "json": _common(bool, "--json", "Print the result as one JSON document."),
    "quiet": _common(bool, "--quiet", "Say nothing on stderr except errors."),
    "debug": _common(bool, "--debug", "Show the traceback of an error."),
}


def _common_parameters() -> Iterator[inspect.Parameter]:
    for name, annotation in _COMMON_OPTIONS.items():
        is_flag = annotation.__origin__ is bool
        yield _parameter(name, annotation, default=False if is_flag else None)


def _parameter_name(key: str) -> str:
    return key.replace(".", "__")


def _parameter(name: str, annotation: Any, default: Any = None) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _typer_type(field: ConfigField) -> Any:
    """What Typer parses; everything but switches and paths stays text until it is resolved."""
    if field.is_list:
        return list[str] | None
    return (field.kind if field.kind in (bool, Path) else str) | None


def _metavar(field: ConfigField) -> str | None:
    if field.choices:
        return "|".join(field.choices)
    if field.parser is not None:
        return field.parser.__name__.removeprefix("parse_").upper()
    return _METAVARS.get(field.kind, "TEXT")


def _help(field: ConfigField) -> str:
    """The field's help and what happens without the flag.

    Typer would show its own default, which is always None: a flag that was not given must be told
    from one that was given its default.
    """
    if field.required:
        return rf"{field.help} [dim]\[required][/dim]"
    if field.default in (None, False, [], ()):
        return field.help
    return rf"{field.help} [dim]\[default: {field.default}][/dim]"


def _completion(field: ConfigField) -> Callable[[str], list[str]] | None:
    if not field.choices:
        return None
    return lambda incomplete: [c for c in field.choices if c.startswith(incomplete)]


def _option(field: ConfigField) -> Any:
    flag = f"--{field.key}"
    if field.kind is bool:
        declaration = f"{flag}/--no_{field.key}" if field.default else flag
        return typer.Option(declaration, help=_help(field), metavar="", show_default=False)
    return typer.Option(
        flag,
        help=_help(field),
        metavar=_metavar(field),
        show_default=False,
        autocompletion=_completion(field),
    )


def _argument(field: ConfigField) -> Any:
    return typer.Argument(metavar=field.key.upper(), help=field.help, show_default=False)
