"""Command line: one command per stage, whose options are the keys of its section in params.yaml."""

import json
import logging
import reprlib
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click

from medtransfer import __version__
from medtransfer.config import (
    Finetune,
    Grid,
    Params,
    Prepare,
    Pretrain,
    Replay,
    Report,
    Samples,
    Score,
    Search,
    Section,
    load_params,
    parse_yaml,
)
from medtransfer.config.load import USED
from medtransfer.decoders import DECODERS
from medtransfer.environment import quiet_libraries
from medtransfer.errors import InputError, StageError, is_full_disk, name_full_disk
from medtransfer.indicators.registry import INDICATORS
from medtransfer.indicators.robustness import DISTANCES
from medtransfer.modes import MODES
from medtransfer.signals import Stopped, stop_on_sigterm

log = logging.getLogger("medtransfer")
TYPES = {bool: "true|false", int: "INTEGER", float: "NUMBER", str: "TEXT"}
REGISTERED: dict[str, Mapping[str, Any]] = {  # names that the code defines, by kind
    "mode": MODES, "decoder": DECODERS, "distance": DISTANCES, "indicator": INDICATORS,
}  # fmt: skip
SETTINGS: dict[str, Any] = {"token_normalize_func": lambda token: token.replace("_", "-"), "max_content_width": 120}


@click.group(context_settings=SETTINGS, invoke_without_command=True)
@click.version_option(__version__, prog_name="medtransfer")
@click.pass_context
def cli(context: click.Context) -> None:
    """Which pretrained encoder, pretrained for how long, should a medical segmentation task start from?

    All defaults are in params.yaml of the working folder. Any stage may be killed and run again.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


class Key(click.Option):
    """An option that overrides a key of a section of params.yaml; its help shows the known names and the value set there."""

    def __init__(self, *args: Any, section: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Append the names of the registry, and the default of the working folder's params.yaml, if there is one."""
        flag, text = super().get_help_record(ctx) or (self.opts[0], "")
        for kind, names in REGISTERED.items():
            if f"{self.section}.{self.name}" in USED[kind]:
                text = f"{text}; one of {', '.join(names)}"
        try:
            default = parse_yaml(Path("params.yaml").read_text(encoding="utf-8"))[self.section][self.name]
        except (OSError, ValueError, TypeError, KeyError):  # --help also works where params.yaml is missing or broken
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
    if get_origin(annotation) in (list, tuple):
        return "LIST"
    return TYPES.get(annotation, "MAP")


def common_options(function: Callable) -> Callable:
    """Add the options that every command has."""
    function = click.option("--debug", is_flag=True, help="Show the traceback of an error.")(function)
    return click.option(
        "--params", "files", multiple=True, type=click.Path(path_type=Path), help="A file overriding params.yaml; repeatable."
    )(function)


def stage(section: type[Section], *, hidden: tuple[str, ...] = ()) -> Callable[[Callable], click.Command]:
    """Return a decorator that makes a function a command, with an option per key of its section and the common options."""

    def decorate(function: Callable) -> click.Command:
        name = function.__name__
        for field in reversed([key for key in section.model_fields if key not in hidden]):
            flag = f"--{field.replace('_', '-')}"
            function = click.option(
                flag,
                field,
                cls=Key,
                metavar=describe_type(section.model_fields[field].annotation),
                help=section.model_fields[field].description,
                section=name,
            )(function)
        return cli.command(name, context_settings=SETTINGS)(common_options(function))

    return decorate


def parsed(section: str, options: dict[str, str | None]) -> dict[str, Any]:
    """Read the given options as YAML values, by dotted key."""
    return {f"{section}.{key}": read_value(key, text) for key, text in options.items() if text is not None}


def read_value(key: str, text: str) -> Any:
    """Read one option's YAML value."""
    try:
        return parse_yaml(text)
    except ValueError as error:
        name, got = key.replace("_", "-"), reprlib.repr(text)
        raise InputError(f"expected a YAML value for --{name}, but got {got} ({error}); correct or quote it") from None


def load(files: tuple[Path, ...], overrides: dict[str, Any]) -> Params:
    """Load params.yaml of the working folder with the files and values that override it."""
    return load_params([Path("params.yaml"), *files], overrides, REGISTERED)


force_option = click.option("--force", is_flag=True, help="Do it again even if it is finished.")


@stage(Samples)
def samples(files: tuple[Path, ...], debug: bool, **options: str | None) -> None:
    """Write small generated datasets in the original formats."""
    from medtransfer import study

    study.samples(load(files, parsed("samples", options)))


@stage(Prepare, hidden=("targets",))
@force_option
def prepare(files: tuple[Path, ...], debug: bool, force: bool, **options: str | None) -> None:
    """Turn a raw dataset into a prepared target."""
    from medtransfer import study

    study.prepare(load(files, parsed("prepare", options)), force)


@stage(Pretrain, hidden=("encoders", "origins"))
@force_option
def pretrain(files: tuple[Path, ...], debug: bool, force: bool, **options: str | None) -> None:
    """Make encoder checkpoints: train on source images or import weights, as the origin says."""
    from medtransfer import study

    study.pretrain(load(files, parsed("pretrain", options)), force)


@stage(Score)
@force_option
def score(files: tuple[Path, ...], debug: bool, force: bool, **options: str | None) -> None:
    """Score every checkpoint on a target by the indicators that `score.indicators` lists."""
    from medtransfer import study

    study.score(load(files, parsed("score", options)), force)


@stage(Finetune)
@force_option
@click.option("--study", "whole_study", is_flag=True, help="Every cell of the section `study` that matches the other options.")
def finetune(files: tuple[Path, ...], debug: bool, force: bool, whole_study: bool, **options: str | None) -> None:
    """Train segmentation models from checkpoints; --seed 1,2 --mode full,decoder --epoch 0,10 take lists."""
    from itertools import product

    from medtransfer import study
    from medtransfer.records import CellName

    names = [field.name for field in fields(CellName)]
    params, given = read_cells(files, options, names)
    if whole_study:
        study.finetune(params, study.study_cells(params, given), force)
        return
    lists = [given.get(name, [getattr(params.finetune, name)]) for name in names]
    study.finetune(params, [CellName(*values) for values in product(*lists)], force)


def read_cells(
    files: tuple[Path, ...], options: dict[str, str | None], names: list[str]
) -> tuple[Params, dict[str, list[Any]]]:  # fmt: skip
    """Read the options of `finetune`, of which those that name a cell may be lists.

    Args:
        files: YAML files that override params.yaml.
        options: option texts by key, as given.
        names: options that may be lists.

    Returns:
        The params, and the values of the given cell fields by name; each is validated like a value in params.yaml.
    """
    lists = {key: text.split(",") for key, text in options.items() if key in names and text is not None}
    others = {key: text for key, text in options.items() if key not in names}
    loaded = [  # one per entry of the longest list; shorter lists repeat their last entry
        load(files, parsed("finetune", others | {key: texts[min(i, len(texts) - 1)] for key, texts in lists.items()}))
        for i in range(max(map(len, lists.values()), default=1))
    ]
    return loaded[0], {key: [getattr(params.finetune, key) for params in loaded[: len(texts)]] for key, texts in lists.items()}


@stage(Grid)
def grid(files: tuple[Path, ...], debug: bool, **options: str | None) -> None:
    """Run all cells of the study as one resumable job, on this machine's cores and GPUs or on a Ray cluster."""
    from medtransfer.grid.stage import run

    click.echo(run(load(files, parsed("grid", options))))


@stage(Report)
def report(files: tuple[Path, ...], debug: bool, **options: str | None) -> None:
    """Compute the TIS tables with their uncertainty, the figure and the page from the tracking store."""
    from medtransfer import study

    click.echo(study.report(load(files, parsed("report", options))))


@stage(Search)
def search(files: tuple[Path, ...], debug: bool, **options: str | None) -> None:
    """Try every distance, margin, level and pooling of robustness on stored results, and report which chooses best."""
    from medtransfer import study

    click.echo(study.search(load(files, parsed("search", options))))


@stage(Replay)
def replay(files: tuple[Path, ...], debug: bool, **options: str | None) -> None:
    """Import the paper's released result files into the tracking store and recompute its tables."""
    from medtransfer import study

    click.echo(study.replay(load(files, parsed("replay", options))))


@cli.command(context_settings=SETTINGS)
@common_options
def demo(files: tuple[Path, ...], debug: bool) -> None:
    """Run the whole study of params.yaml: prepare, pretrain, score, fine-tune, report."""
    from medtransfer import study

    click.echo(study.study(load(files, {})))


def main() -> None:
    """Run the command line; an InputError exits with 2, any other failure with 1, an interruption with 130 or 143."""
    quiet_libraries()
    debug = "--debug" in sys.argv
    stop_on_sigterm()
    try:
        cli.main(prog_name="medtransfer", standalone_mode=False)
    except Stopped:
        leave("stopped; what is finished is kept: run the same command again to resume", 128 + signal.SIGTERM)
    except (click.exceptions.Abort, KeyboardInterrupt):
        leave("interrupted; what is finished is kept: run the same command again to resume", 130)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "medtransfer"
        leave(f"{error.format_message().rstrip('.')}; see `{path} --help`", 2)
    except (InputError, StageError) as error:
        if debug:
            raise
        leave(str(error), 2 if isinstance(error, InputError) else 1)
    except Exception as error:
        if debug:
            raise
        if is_full_disk(error):
            leave(name_full_disk(error), 1)
        leave(f"{type(error).__name__}: {error}; --debug shows the traceback", 1)


def leave(sentence: str, code: int) -> None:
    """Print one line to stderr and exit."""
    click.echo(f"medtransfer: {' '.join(sentence.split())}", err=True)
    sys.exit(code)
