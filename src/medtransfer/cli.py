"""Commands, one a stage: options are the keys of its params section; a user's fault ends in one sentence and exit code 2."""

import logging
import reprlib
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
from medtransfer.environment import quiet_libraries
from medtransfer.errors import InputError, StageError, is_full_disk, name_full_disk
from medtransfer.signals import Stopped, stop_on_sigterm

log = logging.getLogger("medtransfer")
CELL_FIELDS = ("target", "encoder", "origin", "epoch", "mode", "seed")
SETTINGS: dict[str, Any] = {"token_normalize_func": lambda token: token.replace("_", "-"), "max_content_width": 120}


@click.group(context_settings=SETTINGS, invoke_without_command=True)
@click.version_option(__version__, prog_name="medtransfer")
@click.pass_context
def cli(context: click.Context) -> None:
    """Which pretrained encoder, pretrained for how long, should a medical segmentation task start from?

    Every option's default stands in params.yaml of the working folder. Any stage may be killed and run again.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def stage(section: type[Section], *, hidden: tuple[str, ...] = ()) -> Callable[[Callable], click.Command]:
    """Make a command of a function: an option for each key of its section, and those that all commands have."""

    def decorate(function: Callable) -> click.Command:
        name = function.__name__
        for field in reversed([key for key in section.model_fields if key not in hidden]):
            option = click.option(f"--{field.replace('_', '-')}", field, metavar="VALUE", help=f"{name}.{field} of params.yaml")
            function = option(function)
        function = click.option("--debug", is_flag=True, help="Show the traceback of a fault.")(function)
        function = click.option(
            "--params", "files", multiple=True, type=click.Path(path_type=Path), help="A file laid over params.yaml; repeatable."
        )(function)
        return cli.command(name, context_settings=SETTINGS)(function)

    return decorate


def parsed(section: str, options: dict[str, str | None]) -> dict[str, Any]:
    """Read the given options as YAML values, by dotted key."""
    return {f"{section}.{key}": read_value(key, text) for key, text in options.items() if text is not None}


def read_value(key: str, text: str) -> Any:
    """Read one option's YAML value."""
    try:
        return parse_yaml(text)
    except ValueError as fault:
        name, got = key.replace("_", "-"), reprlib.repr(text)
        raise InputError(f"expected a YAML value for --{name}, but got {got} ({fault}); correct or quote it") from None


def load(files: tuple[Path, ...], overrides: dict[str, Any]) -> Params:
    """Load params.yaml of the working folder with what lies over it."""
    return load_params([Path("params.yaml"), *files], overrides)


force_option = click.option("--force", is_flag=True, help="Do it again although it is finished.")


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
    """Measure the robustness of every checkpoint on a target."""
    from medtransfer import study

    study.score(load(files, parsed("score", options)), force)


@stage(Finetune)
@force_option
@click.option(
    "--study", "whole_study", is_flag=True, help="Every cell of the params section `study` that the other options leave open."
)
def finetune(files: tuple[Path, ...], debug: bool, force: bool, whole_study: bool, **options: str | None) -> None:
    """Train segmentation models from checkpoints; --seed 1,2 --mode full,decoder --epoch 0,10 take lists."""
    from itertools import product

    from medtransfer import study
    from medtransfer.finetune.stage import Wanted

    params, given = read_cells(files, options)
    if whole_study:
        study.finetune(params, study.study_cells(params, given), force)
        return
    lists = [given.get(name, [getattr(params.finetune, name)]) for name in CELL_FIELDS]
    study.finetune(params, [Wanted(*one) for one in product(*lists)], force)


def read_cells(files: tuple[Path, ...], options: dict[str, str | None]) -> tuple[Params, dict[str, list[Any]]]:
    """Read the options of `finetune`, of which those that make a cell may be lists.

    Returns:
        The params, and the values of the given cell fields by name; each is validated like a value in params.yaml.
    """
    lists = {key: text.split(",") for key, text in options.items() if key in CELL_FIELDS and text is not None}
    others = {key: text for key, text in options.items() if key not in CELL_FIELDS}
    turns = [  # as many as the longest list has entries; a shorter list repeats its last one
        load(files, parsed("finetune", others | {key: texts[min(turn, len(texts) - 1)] for key, texts in lists.items()}))
        for turn in range(max(map(len, lists.values()), default=1))
    ]
    return turns[0], {key: [getattr(one.finetune, key) for one in turns[: len(texts)]] for key, texts in lists.items()}


@stage(Grid)
def grid(files: tuple[Path, ...], debug: bool, **options: str | None) -> None:
    """Walk all cells of the study as one resumable job, on this machine's cores and GPUs or on a Ray cluster."""
    from medtransfer.grid.stage import run

    click.echo(run(load(files, parsed("grid", options))))


@stage(Report)
def report(files: tuple[Path, ...], debug: bool, **options: str | None) -> None:
    """Compute TIS tables with their uncertainty, the figure and the page from the tracking store."""
    from medtransfer import study

    click.echo(study.report(load(files, parsed("report", options))))


@stage(Search)
@click.option("--adopt", is_flag=True, help="Write the winner into the section `score` of params.yaml.")
def search(files: tuple[Path, ...], debug: bool, adopt: bool, **options: str | None) -> None:
    """Search the distance, margin, level and pooling whose robustness chooses best, on stored results alone."""
    from medtransfer import study

    click.echo(study.search(load(files, parsed("search", options)), adopt))


@stage(Replay)
def replay(files: tuple[Path, ...], debug: bool, **options: str | None) -> None:
    """Put the paper's released result files through the tracking store and compute its tables again."""
    from medtransfer import study

    click.echo(study.replay(load(files, parsed("replay", options))))


@cli.command(context_settings=SETTINGS)
@click.option("--params", "files", multiple=True, type=click.Path(path_type=Path), help="A file laid over params.yaml; repeatable.")
@click.option("--debug", is_flag=True, help="Show the traceback of a fault.")
def demo(files: tuple[Path, ...], debug: bool) -> None:
    """Walk the whole study of params.yaml: prepare, pretrain, score, fine-tune, report."""
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
        leave("stopped; what is finished is kept: run the same command again to go on", 128 + signal.SIGTERM)
    except (click.exceptions.Abort, KeyboardInterrupt):
        leave("interrupted; what is finished is kept: run the same command again to go on", 130)
    except click.ClickException as fault:
        context = getattr(fault, "ctx", None)
        path = context.command_path if context else "medtransfer"
        leave(f"{fault.format_message().rstrip('.')}; `{path} --help` lists what there is", 2)
    except InputError as fault:
        if debug:
            raise
        leave(str(fault), 2)
    except StageError as fault:
        if debug:
            raise
        leave(str(fault), 1)
    except Exception as fault:
        if debug:
            raise
        if is_full_disk(fault):
            leave(name_full_disk(fault), 1)
        leave(f"{type(fault).__name__}: {fault}; --debug shows where", 1)


def leave(sentence: str, code: int) -> None:
    """Say in one line what was wrong and end."""
    click.echo(f"medtransfer: {' '.join(sentence.split())}", err=True)
    sys.exit(code)
