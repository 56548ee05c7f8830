"""Command line: one command per stage, and the end of the program after an error or a stop."""

import json
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import click

from medtransfer.command_line import (
    LIST,
    SETTINGS,
    all_option,
    cli,
    common_options,
    debug_options,
    describe_type,
    force_option,
    help_option,
    parsed,
    read_list,
    read_option,
    read_value,
    stage,
)
from medtransfer.config import (
    Cka,
    Explain,
    Export,
    Finetune,
    Grid,
    Guard,
    Params,
    Predict,
    Prepare,
    Pretrain,
    Race,
    Rank,
    Replay,
    Report,
    Samples,
    Score,
    Search,
    Target,
    Ui,
)
from medtransfer.environment import quiet_libraries
from medtransfer.errors import InputError, StageError, is_full_disk, name_full_disk, name_removed_folder, name_unwritable
from medtransfer.indicators.array_keys import FILES, KEYS, option
from medtransfer.launchers import is_main_process
from medtransfer.next_steps import after_finetune, after_prepare, elsewhere
from medtransfer.pretrain.start import check_chain
from medtransfer.pretrain.weights_files import check_weights_files
from medtransfer.progress import loading
from medtransfer.records import CellName
from medtransfer.signals import Stopped, stop_on_sigterm, stop_though_ignored
from medtransfer.working_folder import default_values, load, load_study

log = logging.getLogger("medtransfer")
CELL = tuple(field.name for field in fields(CellName))  # options of `finetune` that may be lists
ABOVE_ZERO = click.FloatRange(0, min_open=True)


@cli.command(context_settings=SETTINGS)
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path))
@debug_options
def init(folder: Path, debug: bool) -> None:
    """Write the files of a project of your own.

    In DIR, by default this folder, `mlflow run .` and `dvc repro` work afterwards, with all parameters in params.yaml. It
    may be empty or a repository of your own. Existing files are kept, but lines that .gitignore lacks are added to it.
    """
    from medtransfer.init.stage import run

    click.echo(run(folder))


@stage(Samples)
def samples(files: tuple[Path, ...], debug: bool, **options: str | None) -> None:
    """Write small generated datasets in the original formats."""
    from medtransfer import study

    study.samples(load(files, parsed("samples", options)))


def target_options(function: Callable) -> Callable:
    """Add an option for each key of an entry of prepare.targets."""
    for name, field in reversed(Target.model_fields.items()):
        flag, kind = f"--{name.replace('_', '-')}", describe_type(field.annotation)
        function = click.option(flag, f"of_target_{name}", metavar=kind, help=f"{field.description} [of the target]")(function)
    return function


@stage(Prepare, hidden=("new", "targets"))
@target_options
@force_option
def prepare(files: tuple[Path, ...], debug: bool, force: bool, **options: str | None) -> None:
    """Turn a raw dataset into a prepared target.

    --target may list several with commas between. --root names a folder that params.yaml does not: it becomes the target
    --target, by default of the folder's name, with the settings of prepare.new. Later commands know it by that name.
    """
    from medtransfer import study
    from medtransfer.prepare.definition import define

    keys = {name: options.pop(f"of_target_{name}") for name in Target.model_fields}
    fields = Target.model_fields
    given = {name: read_option(name, text, fields[name].annotation) for name, text in keys.items() if text is not None}
    names = read_list("target", text) if (text := options["target"]) and "," in text else []
    if names and given:
        raise InputError(f"expected one --target beside --{next(iter(given))}, but got {', '.join(map(str, names))}; name one")
    overrides = parsed("prepare", options | ({"target": None} if names else {}))
    kept = False
    if given:
        others = {key: value for key, value in overrides.items() if key != "prepare.target"}
        defined = load(files, others, makes_targets=True).prepare
        name, definition = define(defined, overrides.get("prepare.target"), given)
        overrides |= {"prepare.target": name, f"prepare.targets.{name}": definition}
        kept = name not in defined.targets or "root" in given
    chosen = [load(files, overrides | ({"prepare.target": name} if names else {}), makes_targets=True) for name in names or [None]]
    for params in chosen:
        study.prepare(params, force, keep_definition=kept)
        note = elsewhere("prepare", params.prepare.out, default_values(files)["prepare"]["out"])
        click.echo("\n".join(filter(None, (note, after_prepare(params)))))


@stage(Pretrain, hidden=("encoders", "origins"))
@force_option
def pretrain(files: tuple[Path, ...], debug: bool, force: bool, **options: str | None) -> None:
    """Make encoder checkpoints: train, or import weights.

    The origin says which, and how.
    """
    from medtransfer import study

    params = load(files, parsed("pretrain", options))
    check_weights_files(params.pretrain)
    check_chain(params.pretrain, named=options["from"] is not None)
    study.pretrain(params, force)
    note = elsewhere("pretrain", params.pretrain.out, default_values(files)["pretrain"]["out"])
    if note and is_main_process():
        click.echo(note)


@cli.command(context_settings=SETTINGS)
@click.argument("source", metavar="SOURCE", type=click.Path(path_type=Path))
@click.argument("destination", metavar="DESTINATION", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["tar", "parquet"]), default="tar", show_default=True, help="of the shards")
@click.option("--shard-size", default=256, show_default=True, type=click.IntRange(min=1), metavar="MB", help="of a shard, about")
@debug_options
def pack(source: Path, destination: Path, form: str, shard_size: int, debug: bool) -> None:
    """Write the pictures of a pretraining source to shards.

    A training reads them without a scan of millions of files, and makes the same checkpoints. SOURCE has train and val, as folders
    or as shards; DESTINATION is the source_root to set afterwards.
    """
    from medtransfer.pretrain.pack import run

    click.echo(f"packed: set pretrain.source_root to {run(source, destination, form, shard_size)}")


@stage(Score)
@force_option
def score(files: tuple[Path, ...], debug: bool, force: bool, **options: str | None) -> None:
    """Score checkpoints on a target by indicators."""
    from medtransfer import study
    from medtransfer.next_steps import after_score

    params = load(files, parsed("score", options))
    folder = study.score(params, force)
    with loading("score"):
        from medtransfer.score.table import shown
    click.echo("\n".join(filter(None, (shown(folder), after_score(params, folder)))))


@stage(Rank)
@click.argument("more", nargs=-1, metavar="[CANDIDATE]...")
@click.option("--study", "whole_study", is_flag=True, help="on every target of the section `study`, each in a folder below --out")
def rank(files: tuple[Path, ...], debug: bool, more: tuple[str, ...], whole_study: bool, **options: str | None) -> None:
    """Rank candidate encoders on images, before any fine-tuning.

    With masks it says which candidates cannot be distinguished from the best; candidates may also be written one after the
    other, as in --candidates resnet50.a1_in1k convnext_tiny.fb_in1k checkpoints/unet-simple random.
    """
    given = parsed("rank", options)
    if more:
        given["rank.candidates"] = [*given.get("rank.candidates", []), *more]
    params = load(files, given)
    with loading("rank"):
        from medtransfer.rank.stage import run, run_study

    click.echo(run_study(params) if whole_study else run(params))


@stage(Cka)
@click.argument("more", nargs=-1, metavar="[ENCODER]...")
def cka(files: tuple[Path, ...], debug: bool, more: tuple[str, ...], **options: str | None) -> None:
    """Compare encoders level by level, by linear CKA.

    Two or more, named as the candidates of `rank`, see the same images of a target; also one after the other, as in
    --candidates checkpoints/unet-simple/epoch-010.json resnet50.a1_in1k random.
    """
    given = parsed("cka", options)
    if more:
        given["cka.candidates"] = [*given.get("cka.candidates", []), *more]
    params = load(files, given)
    with loading("cka"):
        from medtransfer.cka.stage import run

    click.echo(run(params))


@stage(Finetune, lists=CELL)
@force_option
@click.option("--study", "whole_study", is_flag=True, help="every cell of the section `study` that matches the other options")
def finetune(files: tuple[Path, ...], debug: bool, force: bool, whole_study: bool, **options: str | None) -> None:
    """Train and test models of masks or labels from checkpoints.

    Lists make several cells, such as --epoch 0,10 --mode full,decoder --seed 1,2.
    """
    from medtransfer import study

    params, given = read_cells(files, options)
    if whole_study:
        study.require_epochs(params)
        cells = study.study_cells(params, given)
    else:
        cells = named_cells(params, given)
    study.finetune(params, cells, force)
    if text := after_finetune(params, cells):
        click.echo(text)


def named_cells(params: Params, given: dict[str, list[Any]]) -> list[CellName]:
    """Return every combination of the values that the options list, and of the params for the other fields."""
    from itertools import product

    from medtransfer import study

    lists = {name: given.get(name, [getattr(params.finetune, name)]) for name in CELL}
    portions = study.list_portions(*(lists.pop(name) for name in ("size", "fold", "folds")))
    names = [dict(zip(lists, values, strict=True)) for values in product(*lists.values())]
    return [CellName(**name, **portion) for name in names for portion in portions]


def read_cells(files: tuple[Path, ...], options: dict[str, str | None]) -> tuple[Params, dict[str, list[Any]]]:
    """Read the options of `finetune`, of which those that name a cell may be lists.

    Args:
        files: YAML files that override params.yaml.
        options: option texts by key, as given.

    Returns:
        The params, and the values of the given cell fields by name; each is validated like a value in params.yaml.
    """
    null = {key for key in CELL if NoneType in get_args(Finetune.model_fields[key].annotation)}
    lists = {key: read_list(key, text, key in null) for key, text in options.items() if key in CELL and text is not None}
    if empty := [key for key, values in lists.items() if not values]:
        raise InputError(f"expected {LIST} for --{empty[0]}, but got an empty list; correct it")
    others = parsed("finetune", {key: text for key, text in options.items() if key not in CELL})
    loaded = [  # one per entry of the longest list; shorter lists repeat their last entry
        load(files, others | {f"finetune.{key}": values[min(i, len(values) - 1)] for key, values in lists.items()})
        for i in range(max(map(len, lists.values()), default=1))
    ]
    return loaded[0], {key: [getattr(params.finetune, key) for params in loaded[: len(values)]] for key, values in lists.items()}


@stage(Race)
@click.argument("more", nargs=-1, metavar="[CANDIDATE]...")
def race(files: tuple[Path, ...], debug: bool, more: tuple[str, ...], **options: str | None) -> None:
    """Choose among checkpoints by fine-tuning them under a budget.

    Each rung fine-tunes fewer candidates by a longer schedule. Validation patients decide, and only the winner is tested.
    """
    given = parsed("race", options)
    if more:
        given["race.candidates"] = [*given.get("race.candidates", []), *more]
    params = load(files, given)
    with loading("race"):
        from medtransfer.race.stage import run

    click.echo(run(params))


@stage(Guard)
def guard(files: tuple[Path, ...], debug: bool, **options: str | None) -> None:
    """Ask whether no pretraining is best.

    Checkpoints and the random initialisation are fine-tuned shortly with several seeds, and compared on validation patients.
    """
    params = load(files, parsed("guard", options))
    with loading("guard"):
        from medtransfer.guard.stage import run

    click.echo(run(params))


@stage(Predict)
@force_option
@click.argument("more", nargs=-1, metavar="[MODEL]...")
def predict(files: tuple[Path, ...], debug: bool, force: bool, more: tuple[str, ...], **options: str | None) -> None:
    """Predict masks, or labels, of new images.

    Models to average may also be written one after the other, as in --model models/a models/b.
    """
    given = parsed("predict", options)
    if more:
        given["predict.model"] = [*given.get("predict.model", []), *more]
    params = load(files, given)
    from medtransfer.predict.stage import run

    click.echo(run(params.predict, Path(params.pretrain.out), Path(params.prepare.out), force))


@stage(Grid)
@click.option("--plan", is_flag=True, help="run nothing: count the jobs, and say what the study could distinguish")
def grid(files: tuple[Path, ...], debug: bool, plan: bool, **options: str | None) -> None:
    """Run the whole study as one resumable job.

    It uses all cores and GPUs of this machine, or a Ray cluster.
    """
    params = load(files, parsed("grid", options))
    if plan:
        from medtransfer.grid.forecast import forecast

        click.echo(forecast(params))
        return
    with loading("grid"):
        from medtransfer.grid.stage import run

    click.echo(run(params))


@cli.command("study", context_settings=SETTINGS)
@click.argument("named", metavar="[NAME]", required=False)
@click.option("--name", metavar="NAME", help="the same, for `mlflow run . -e study -P name=NAME`")
@click.option("--list", "listed", is_flag=True, help="list the studies, their cells, and whether their data are here")
@click.option("--plan", is_flag=True, help="run nothing: say what it takes, what is missing and what it could show")
@click.option("--seconds-per-step", type=ABOVE_ZERO, help="of a fine-tuning, for --plan [default: as measured]")
@click.option("--sd", type=ABOVE_ZERO, help="standard deviation over repetitions, for --plan [default: as measured]")
@click.option("--available", is_flag=True, help="leave out what has no data here")
@click.option("--write", "file", metavar="FILE", type=click.Path(path_type=Path), help="write its params, for DVC; run nothing")
@click.option("--set", "given", metavar="KEY=VALUE", multiple=True, help="a value of all parts, such as grid.workers=4; repeatable")
@click.option("--force", is_flag=True, help="replace the FILE of --write if it exists")
@common_options
def whole_study(
    files: tuple[Path, ...], debug: bool, named: str | None, name: str | None, listed: bool, plan: bool,
    seconds_per_step: float | None, sd: float | None, available: bool, file: Path | None, given: tuple[str, ...], force: bool,
) -> None:  # fmt: skip
    """Plan or run a whole study from its file.

    NAME is that of a study of --list or a file; NAME/PART is one part of it. Finished cells are reused.
    """
    from functools import partial

    load_named = partial(load_study, files=files, overrides=read_assignments(given))
    chosen = named or name
    used = {
        "--plan": plan,
        "--available": available,
        "--write": file,
        "--set": given,
        "--force": force,
        "--sd": sd,
        "--seconds-per-step": seconds_per_step,
    }
    if chosen is None and not listed and (option := next((name for name, value in used.items() if value), None)):
        raise InputError(
            f"expected the NAME of a study, or its file, beside {option}, but got none; see `medtransfer study --list`"
        )
    if listed or chosen is None:
        from medtransfer.studies.listing import list_studies

        click.echo(list_studies(load_named))
        return
    loaded = load_named(chosen)
    if file is not None:
        from medtransfer.studies.write import write_params

        click.echo(write_params(loaded, file, force))
    elif plan:
        from medtransfer.studies.plan import plan as describe

        click.echo(describe(loaded, seconds_per_step, sd))
    else:
        from medtransfer.studies.stage import run

        click.echo(run(loaded, available))


def read_assignments(given: tuple[str, ...]) -> dict[str, Any]:
    """Read values of the form KEY=VALUE by dotted key."""
    if wrong := [text for text in given if "=" not in text]:
        raise InputError(f"expected KEY=VALUE for --set, such as finetune.lr=0.01, but got {wrong[0]!r}; correct it")
    return {key.strip(): read_value(f"set {key}", text) for key, _, text in (text.partition("=") for text in given)}


@stage(Report)
@all_option
@force_option
def report(files: tuple[Path, ...], debug: bool, everything: bool, force: bool, **options: str | None) -> None:
    """Compute verdict, tables and figures from the tracking store."""
    from medtransfer import study

    click.echo(study.report(load(files, parsed("report", options)), everything, force=force))


@stage(Search)
@all_option
@force_option
def search(files: tuple[Path, ...], debug: bool, everything: bool, force: bool, **options: str | None) -> None:
    """Find the setting and the indicator that choose best.

    Every distance, margin, level and pooling is tried on stored results, on held-out targets as well.
    """
    from medtransfer import study

    click.echo(study.search(load(files, parsed("search", options)), everything, force))


@stage(Explain)
@force_option
def explain(files: tuple[Path, ...], debug: bool, force: bool, **options: str | None) -> None:
    """Show where robustness and the test results part ways.

    The features of every checkpoint of the study are measured, level by level, and compared with both.
    """
    from medtransfer import study

    click.echo(study.explain(load(files, parsed("explain", options)), force))


@stage(Export)
@force_option
def export(files: tuple[Path, ...], debug: bool, force: bool, **options: str | None) -> None:
    """Write a fine-tuned model in another format.

    It is kept only if it predicts what the original does.
    """
    params = load(files, parsed("export", options))
    from medtransfer.export.stage import run

    click.echo(run(params.export, Path(params.pretrain.out), force))


@stage(Replay)
@force_option
def replay(files: tuple[Path, ...], debug: bool, force: bool, **options: str | None) -> None:
    """Replay a paper's results: released files or printed tables.

    Of the first paper the released results are imported, and its tables recomputed. Of the others the claims are tested on their
    printed tables.
    """
    from medtransfer import study

    click.echo(study.replay(load(files, parsed("replay", options)), force))


@cli.group(context_settings=SETTINGS, no_args_is_help=False)
@help_option
def evidence() -> None:
    """Exchange results with other groups as small tables.

    A table has digests, names of encoders, kinds of targets, outcomes and costs: no images, and no names of people or hosts.
    """


@evidence.command("export", context_settings=SETTINGS)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="the CSV file to write")
@click.option("--names", is_flag=True, help="name the targets, which may name a hospital")
@common_options
def export_evidence(files: tuple[Path, ...], debug: bool, out: Path, names: bool) -> None:
    """Write the outcomes of all fine-tunings in the tracking store."""
    from medtransfer import study

    click.echo(study.export_evidence(load(files, {}), out, names))


@evidence.command("import", context_settings=SETTINGS)
@click.argument("tables", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@common_options
def import_evidence(files: tuple[Path, ...], debug: bool, tables: tuple[Path, ...]) -> None:
    """Store tables of others for the baseline `history`."""
    from medtransfer.evidence.stage import import_files

    click.echo(import_files(tables, Path(load(files, {}).evidence.out)))


@stage(Ui)
def ui(files: tuple[Path, ...], debug: bool, **options: str | None) -> None:
    """Open the tracking store in the MLflow UI, until interrupted.

    If the port is taken, it takes a free one, unless --port names it.
    """
    from medtransfer.tracking.ui import serve

    section = load(files, parsed("ui", options)).ui
    serve(section.host, section.port, or_free=options["port"] is None)


@cli.command(context_settings=SETTINGS)
@click.option("--json", "as_json", is_flag=True, help="print one JSON object, by id")
@debug_options
def catalogue(as_json: bool, debug: bool) -> None:
    """List published initialisations, and where to get them."""
    from medtransfer.pretrain.catalogue.entries import catalogue as read
    from medtransfer.records.tables import as_markdown

    entries = read()
    if as_json:
        click.echo(json.dumps({name: entry.model_dump() for name, entry in entries.items()}, indent=2))
        return
    shown = ("architecture", "method", "source", "epochs", "licence", "published", "remark")
    click.echo(as_markdown([{"id": name, **{key: getattr(entry, key) for key in shown}} for name, entry in entries.items()]))
    click.echo("\nHow to use one: docs/how-to/weights.md. Everything that is known of them: --json")


class OnArrays(click.Command):
    """A command whose options are files of arrays."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the indicators with the files that each needs."""
        with formatter.section("Indicators"):
            formatter.write_dl([
                (f"{key}: {', '.join(indicator.needs)}", indicator.says) for key, indicator in KEYS.items()
            ], col_max=40)  # fmt: skip


def array_options(function: Callable) -> Callable:
    """Add an option for each kind of array."""
    for name, text in reversed(FILES.items()):
        function = click.option(option(name), metavar="FILE.npy", type=click.Path(path_type=Path), help=text)(function)
    return function


@cli.command(cls=OnArrays, context_settings=SETTINGS)
@array_options
@click.option("--json", "as_json", is_flag=True, help="print one JSON object, with null for what is undefined")
@debug_options
def indicators(as_json: bool, debug: bool, **paths: Path | None) -> None:
    """Compute indicators of arrays saved by numpy.save.

    Every indicator below whose files are given is computed; the others are left out.
    """
    from medtransfer.indicators.array_files import computable, read_arrays

    computable(arrays := read_arrays(paths))  # what is missing is said before PyTorch is loaded
    from medtransfer.indicators import from_arrays

    values = from_arrays.compute(arrays)
    click.echo(from_arrays.as_json(values) if as_json else from_arrays.as_table(values))


@cli.command(context_settings=SETTINGS)
@common_options
def demo(files: tuple[Path, ...], debug: bool) -> None:
    """Run the whole study, then rank its checkpoints.

    The section `study` names its encoders, origins, targets, modes and seeds.
    """
    from medtransfer.grid.stage import run_and_report
    from medtransfer.rank.stage import PAGE, run

    params = load(files, {})
    reported = run_and_report(params, short=True)
    pages = f"{Path(params.report.out) / 'report.html'} (the verdict), {Path(params.rank.out) / PAGE} (the ranking)"
    ranked = f"Before any fine-tuning: {run(params, brief=True)}"
    click.echo(f"\n{ranked}\n{reported}\n\nWhere to look: {pages}; the runs: medtransfer ui")


def _command() -> str:
    """Return the command that was asked for, as far as the command line tells."""
    return " ".join(["medtransfer", *(word for word in sys.argv[1:2] if word in cli.commands)])


def main() -> None:
    """Run the command line; an InputError exits with 2, any other failure with 1, an interruption with 130 or 143."""
    quiet_libraries()
    debug = "--debug" in sys.argv
    stop_on_sigterm()
    stop_though_ignored()
    try:
        cli.main(prog_name="medtransfer", standalone_mode=False)
    except Stopped:
        leave("stopped; what is finished is kept: run the same command again to resume", 128 + signal.SIGTERM)
    except (click.exceptions.Abort, KeyboardInterrupt):
        leave("interrupted; what is finished is kept: run the same command again to resume", 130)
    except click.NoSuchOption as error:
        path = error.ctx.command_path if error.ctx else "medtransfer"
        close = close_options(error.option_name, error.possibilities or [])
        named = click.NoSuchOption(error.option_name, possibilities=close, ctx=error.ctx)
        leave(f"{named.format_message().rstrip('.?')}{home_of(error.option_name)}; see `{path} --help`", 2)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        leave(f"{error.format_message().rstrip('.')}; see `{context.command_path if context else _command()} --help`", 2)
    except (InputError, StageError) as error:
        if debug:
            raise
        leave(str(error), 2 if isinstance(error, InputError) else 1)
    except Exception as error:
        if debug:
            raise
        if is_full_disk(error):
            leave(name_full_disk(error), 1)
        if sentence := name_unwritable(error) or name_removed_folder():
            leave(sentence, 2)
        leave(f"{type(error).__name__}: {error}; --debug shows the traceback", 1)


def leave(sentence: str, code: int) -> None:
    """Print one line to stderr and exit."""
    click.echo(f"medtransfer: {' '.join(sentence.split())}", err=True)
    sys.exit(code)


def close_options(flag: str, options: Sequence[str]) -> list[str]:
    """Return the options whose names are like a flag's; Click also counts their dashes, by which `--lr` is like `--help`."""
    return [option for option in options if get_close_matches(flag.lstrip("-"), [option.lstrip("-")])]


def home_of(flag: str) -> str:
    """Return a clause on the keys of params.yaml that an option of another command sets; empty if there is none."""
    key = flag.lstrip("-").replace("-", "_")
    stages = [name for name, field in Params.model_fields.items() if key in field.annotation.by_key()]  # type: ignore[union-attr]
    if not 1 <= len(stages) <= 3:  # of none, or of nearly all
        return ""
    keys = " or ".join(f"{name}.{key}" for name in stages)
    return f"; it is an option of {' and '.join(stages)}, whose key in params.yaml or in a file of --params is {keys}"
