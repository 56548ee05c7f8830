"""Commands, one a stage: options are the keys of its params section; a user's fault ends in one sentence and exit code 2."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import yaml

from medtransfer import __version__
from medtransfer.config import Finetune, Params, Prepare, Pretrain, Report, Samples, Score, Section, load_params
from medtransfer.errors import InputError, StageError

log = logging.getLogger("medtransfer")
CELL_FIELDS = ("target", "encoder", "scheme", "epoch", "mode", "seed")
SETTINGS: dict[str, Any] = {"token_normalize_func": lambda token: token.replace("_", "-"), "max_content_width": 120}


@click.group(context_settings=SETTINGS)
@click.version_option(__version__, prog_name="medtransfer")
def cli() -> None:
    """Which pretrained encoder, pretrained for how long, should a medical segmentation task start from?

    Every option's default stands in params.yaml of the working folder. Any stage may be killed and run again.
    """


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
    given = {key: value for key, value in options.items() if value is not None}
    try:
        return {f"{section}.{key}": yaml.safe_load(value) for key, value in given.items()}
    except yaml.YAMLError as fault:
        raise InputError(f"expected YAML values for the options, but {' '.join(str(fault).split())}") from None


def load(files: tuple[Path, ...], overrides: dict[str, Any]) -> Params:
    """Load params.yaml of the working folder with what lies over it."""
    return load_params([Path("params.yaml"), *files], overrides)


force_option = click.option("--force", is_flag=True, help="Do it again although it is finished.")


@stage(Samples)
def samples(files: tuple[Path, ...], debug: bool, **options: str | None) -> None:
    """Write small generated datasets in the original formats."""
    from medtransfer import pipeline

    pipeline.samples(load(files, parsed("samples", options)))


@stage(Prepare, hidden=("targets",))
@force_option
def prepare(files: tuple[Path, ...], debug: bool, force: bool, **options: str | None) -> None:
    """Turn a raw dataset into a prepared target."""
    from medtransfer import pipeline

    pipeline.prepare(load(files, parsed("prepare", options)), force)


@stage(Pretrain, hidden=("encoders", "schemes"))
@force_option
def pretrain(files: tuple[Path, ...], debug: bool, force: bool, **options: str | None) -> None:
    """Make encoder checkpoints from source images, or import a weights file."""
    from medtransfer import pipeline

    pipeline.pretrain(load(files, parsed("pretrain", options)), force)


@stage(Score)
@force_option
def score(files: tuple[Path, ...], debug: bool, force: bool, **options: str | None) -> None:
    """Measure the robustness of every checkpoint on a target."""
    from medtransfer import pipeline

    pipeline.score(load(files, parsed("score", options)), force)


@stage(Finetune)
@force_option
@click.option("--study", is_flag=True, help="Every cell of the params section `study` that the other options leave open.")
def finetune(files: tuple[Path, ...], debug: bool, force: bool, study: bool, **options: str | None) -> None:
    """Train segmentation models from checkpoints; --seed 1,2 --mode full,decoder --epoch 0,10 take lists."""
    from itertools import product

    from medtransfer import pipeline
    from medtransfer.finetune.stage import Wanted

    lists = {key: value.split(",") for key, value in options.items() if key in CELL_FIELDS and value is not None}
    others = parsed("finetune", {key: value for key, value in options.items() if key not in CELL_FIELDS})
    params = load(files, others)
    for combination in product(*lists.values()):  # every named value is validated like one in the file
        params = load(files, {**others, **parsed("finetune", dict(zip(lists, combination, strict=True)))})
    defaults: dict[str, list[Any]] = {name: [getattr(params.finetune, name)] for name in CELL_FIELDS}
    if study:
        chosen = params.study
        defaults |= {"target": chosen.targets, "encoder": chosen.encoders, "scheme": chosen.schemes,
                     "epoch": pipeline.study_epochs(params), "mode": chosen.modes, "seed": chosen.seeds}  # fmt: skip
    values = {name: [yaml.safe_load(one) for one in lists[name]] if name in lists else defaults[name] for name in CELL_FIELDS}
    pipeline.finetune(params, [Wanted(*one) for one in product(*values.values())], force)


@stage(Report)
def report(files: tuple[Path, ...], debug: bool, **options: str | None) -> None:
    """Compute TIS tables and the figure from the tracking store."""
    from medtransfer import pipeline

    click.echo(pipeline.report(load(files, parsed("report", options))))


@cli.command(context_settings=SETTINGS)
@click.option("--params", "files", multiple=True, type=click.Path(path_type=Path), help="A file laid over params.yaml; repeatable.")
@click.option("--debug", is_flag=True, help="Show the traceback of a fault.")
def demo(files: tuple[Path, ...], debug: bool) -> None:
    """Walk the whole study of params.yaml: prepare, pretrain, score, fine-tune, report."""
    from medtransfer import pipeline

    click.echo(pipeline.study(load(files, {})))


def main() -> None:
    """Run the command line; an InputError exits with 2, any other failure with 1, an interruption with 130."""
    quiet_libraries()
    debug = "--debug" in sys.argv
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        leave("interrupted; run the same command again to go on", 130)
    except KeyboardInterrupt:
        leave("interrupted; run the same command again to go on", 130)
    except click.ClickException as fault:
        fault.show()
        sys.exit(2)
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
        leave(f"{type(fault).__name__}: {' '.join(str(fault).split())}; --debug shows where", 1)


def leave(sentence: str, code: int) -> None:
    """Say what was wrong and end."""
    click.echo(f"medtransfer: {sentence}", err=True)
    sys.exit(code)


def quiet_libraries() -> None:
    """Let the project's own lines through and the libraries' warnings only."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    for name in ("alembic", "mlflow", "lightning_fabric", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
