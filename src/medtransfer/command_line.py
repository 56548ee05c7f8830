"""How commands are declared: options from the keys of a section of params.yaml, and their values."""

import json
import reprlib
from collections.abc import Callable
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click

from medtransfer import __version__
from medtransfer.config import (
    Params,
    Section,
    parse_yaml,
    preset_names,
)
from medtransfer.config.load import USED
from medtransfer.errors import InputError
from medtransfer.working_folder import REGISTERED, default_values

TYPES = {bool: "true|false", int: "INTEGER", float: "NUMBER", str: "TEXT"}
DEFAULT_VALUES = f"{__name__}.default_values"  # key of the context that keeps them, so that files are read once
LIST = "one value, `A,B` or `[A, B]`"
SETTINGS: dict[str, Any] = {"token_normalize_func": lambda token: token.replace("_", "-"), "max_content_width": 120}
help_option = click.help_option("-h", "--help", help="show this message and exit")


class Workflow(click.Group):
    """Commands in the order of the workflow."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands in the order of their definitions."""
        return list(self.commands)


@click.group(cls=Workflow, context_settings=SETTINGS, invoke_without_command=True)
@click.version_option(__version__, prog_name="medtransfer", help="show the version and exit")
@help_option
@click.pass_context
def cli(context: click.Context) -> None:
    """Which pretrained encoder, pretrained for how long, should a medical imaging task start from?

    Commands work in any folder. A params.yaml there changes defaults: those that it names, or all of them.

    Any stage may be killed and run again.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


class Stage(click.Command):
    """A command whose options are the keys of a section of params.yaml."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Say how lists are written."""
        if any(str(option.metavar).endswith(",...") for option in self.params if isinstance(option, Key)):
            formatter.write_paragraph()
            formatter.write_text("A list (,...) is one value, values with commas between, or a YAML list: 1 or 1,2 or '[1, 2]'.")


class Key(click.Option):
    """An option that overrides a key of a section of params.yaml; its help shows the known names and the default."""

    def __init__(self, *args: Any, section: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Append the names of the registry, and the default in the working folder."""
        flag, text = super().get_help_record(ctx) or (self.opts[0], "")
        for kind, names in REGISTERED.items():
            if f"{self.section}.{self.name}" in USED[kind]:
                text = f"{text}; one of {', '.join(names)}"
        if DEFAULT_VALUES not in ctx.meta:
            ctx.meta[DEFAULT_VALUES] = default_values()
        try:
            default = ctx.meta[DEFAULT_VALUES][self.section][self.name]
        except (TypeError, KeyError):
            return flag, text
        return flag, f"{text} [default: {default if isinstance(default, str) else json.dumps(default)}]"


def describe_type(annotation: Any) -> str:
    """Describe the values of a key: its choices, or their type."""
    if get_origin(annotation) is Annotated:
        return describe_type(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return "|".join(map(str, get_args(annotation)))
    if get_origin(annotation) in (Union, UnionType):
        return "|".join(dict.fromkeys("null" if kind is NoneType else describe_type(kind) for kind in get_args(annotation)))
    if get_origin(annotation) is list:
        return f"{describe_type(get_args(annotation)[0])},..."
    if get_origin(annotation) is tuple:
        return ",".join(map(describe_type, get_args(annotation)))
    return TYPES.get(annotation, "MAP")


def debug_options(function: Callable) -> Callable:
    """Add the options that every command has."""
    return click.option("--debug", is_flag=True, help="show the traceback of an error")(help_option(function))


def common_options(function: Callable) -> Callable:
    """Add the options of every command that reads params.yaml."""
    text = f"a file that overrides params.yaml, or the name of a preset ({', '.join(preset_names())}); repeatable"
    return click.option("--params", "files", multiple=True, type=click.Path(path_type=Path), help=text)(debug_options(function))


def stage(
    section: type[Section], *, hidden: tuple[str, ...] = (), lists: tuple[str, ...] = ()
) -> Callable[[Callable], click.Command]:  # fmt: skip
    """Return a decorator that makes a function a command, with an option per key of its section and the common options.

    Args:
        section: schema of the section.
        hidden: keys that have no option.
        lists: keys of single values whose options may be lists.
    """

    def decorate(function: Callable) -> click.Command:
        name = function.__name__
        for key, field in reversed([(key, field) for key, field in section.by_key().items() if key not in hidden]):
            flag = f"--{key.replace('_', '-')}"
            function = click.option(
                flag,
                key,
                cls=Key,
                metavar=describe_type(field.annotation) + (",..." if key in lists else ""),
                help=field.description,
                section=name,
            )(function)
        return cli.command(name, cls=Stage, context_settings=SETTINGS)(common_options(function))

    return decorate


def is_list(annotation: Any) -> bool:
    """Return whether the values of a key are lists of single values; some of these keys may be null, too."""
    if get_origin(annotation) is Annotated:
        return is_list(get_args(annotation)[0])
    if may_be_null(annotation):
        return all(is_list(kind) for kind in get_args(annotation) if kind is not NoneType)
    return get_origin(annotation) in (list, tuple) and describe_type(get_args(annotation)[0]) != "MAP"


def may_be_null(annotation: Any) -> bool:
    """Return whether null is a value of a key."""
    return get_origin(annotation) in (Union, UnionType) and NoneType in get_args(annotation)


def parsed(section: str, options: dict[str, str | None]) -> dict[str, Any]:
    """Read the given options of a section as YAML values, by dotted key."""
    fields = Params.model_fields[section].annotation.by_key()  # type: ignore[union-attr]
    return {
        f"{section}.{key}": read_option(key, text, fields[key].annotation) for key, text in options.items() if text is not None
    }  # fmt: skip


def read_option(key: str, text: str, annotation: Any) -> Any:
    """Read an option of a key with the given annotation."""
    if not is_list(annotation) or (may_be_null(annotation) and read_value(key, text) is None):
        return read_value(key, text)
    return read_list(key, text)


def read_list(key: str, text: str, null: bool = False) -> list[Any]:
    """Read an option that is a list: one value, values with commas between, or a YAML list; `null`: null is a value, too."""
    parts = [text] if text.lstrip().startswith("[") else text.split(",")
    values = [read_value(key, part, LIST) for part in parts]
    if parts == [text] and isinstance(values[0], list):
        values = values[0]
    if any((value is None and not null) or value == "" or isinstance(value, dict | list) for value in values):
        raise InputError(f"expected {LIST} for --{key.replace('_', '-')}, but got {reprlib.repr(text)}; correct it")
    return values


def read_value(key: str, text: str, form: str = "a YAML value") -> Any:
    """Read one option's YAML value; `form` is what to expect, for the message. An empty text is one, null is written out."""
    if not text:
        return text
    try:
        return parse_yaml(text)
    except ValueError as error:
        name, got = key.replace("_", "-"), reprlib.repr(text)
        raise InputError(f"expected {form} for --{name}, but got {got} ({error}); correct or quote it") from None


all_option = click.option("--all", "everything", is_flag=True, help="judge results by other parameters too, if the store has them")
force_option = click.option("--force", is_flag=True, help="do it again even if it is finished")
