"""Stage `cka`: compare encoders level by level on the images of a target; write tables, heat maps and a run."""

import logging
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from medtransfer import __version__, study, tracking
from medtransfer.analysis.similarities import SIMILARITY
from medtransfer.config import Params
from medtransfer.environment import require_device
from medtransfer.errors import InputError
from medtransfer.hashing import digest
from medtransfer.launchers import require_processes
from medtransfer.locks import exclusive
from medtransfer.rank.candidates import FORMS, Candidate, read_candidates
from medtransfer.rank.identity import identify
from medtransfer.rank.targets import check_images, open_target
from medtransfer.records import PreparedTarget, write_text
from medtransfer.records.finished import forget_finished, is_unchanged, read_finished, write_finished
from medtransfer.records.similarity import SIMILARITY_FILE, Similarity
from medtransfer.records.tables import as_csv, as_markdown
from medtransfer.report.format import number

log = logging.getLogger("medtransfer")
TABLE, PICTURE, PAIRS = "cka.csv", "cka.png", "pairs"


def run(params: Params) -> str:
    """Compare the encoders, and return the text for the terminal; see `compare`."""
    similarity = compare(params)
    from medtransfer.report import similarities

    out = Path(params.cka.out)
    return "\n\n".join([
        similarities.describe(similarity), *_tabulate(similarity), f"The picture: {out / PICTURE}; all values: {out / TABLE}"
    ])  # fmt: skip


def _tabulate(similarity: Similarity) -> tuple[str, str]:
    """Return what the rows and columns of the main heat map are, and its values as a table; many encoders are numbered."""
    from medtransfer.report import similarities

    drawn = similarities.main_map(similarity)
    rows, columns, heading = drawn.rows, drawn.columns, f"Rows: {drawn.names[0]}. Columns: {drawn.names[1]}."
    if not drawn.names[0]:
        columns = [str(number_) for number_ in range(1, len(rows) + 1)]
        rows = [f"{column} {name}" for column, name in zip(columns, rows, strict=True)]
        heading = f"Every encoder at level {similarity.level}."
    table = [
        {"": row, **dict(zip(columns, map(number, values), strict=True))}
        for row, values in zip(rows, drawn.values.tolist(), strict=True)
    ]
    return heading, as_markdown(table)


def compare(params: Params) -> Similarity:
    """Compare the encoders, and write `cka.json`, table, pictures and the run; an equal comparison in the folder is reused.

    Raises:
        InputError: the images or an encoder cannot be used, or a launcher started the command several times.
    """
    require_processes(1, "the comparison")
    section = params.cka
    tracking.require_experiments(("cka",))  # before timm is loaded for the candidates
    candidates = read_candidates(section.candidates, study.with_values(params, "rank", pickle=section.pickle))
    if len(candidates) < 2:
        raise InputError(f"expected at least two encoders to compare, each {FORMS}, but got {candidates[0].name} alone; add one")
    study.reach_store(params, ("cka",))
    out = Path(section.out)
    with exclusive(out):
        target = open_target(study.with_values(params, "rank", target=section.target, images=None, masks=None))
        similarity = _measure(candidates, target, params)
        _write(similarity, out)
        _publish(similarity, target, out)
    return similarity


def _measure(candidates: Sequence[Candidate], target: PreparedTarget, params: Params) -> Similarity:
    section, score, file = params.cka, params.score, Path(params.cka.out) / SIMILARITY_FILE
    weights = [identify(candidate, score.seed) for candidate in candidates]
    encoders = [[candidate.name, candidate.architectures, digest_] for candidate, digest_ in zip(candidates, weights, strict=True)]
    images = [target.info.fingerprint, score.split, score.seed, section.max_images]
    cell = digest([
        Similarity.form(), encoders, images, score.precision, score.tf32, section.estimate, section.features, section.batch_size
    ], 16)  # fmt: skip
    if (stored := _read(file)) is not None and stored.cell == cell and -section.level <= min(map(len, stored.levels)):
        log.info("cka: these encoders are compared already; reused")
        return replace(stored, level=section.level)
    require_device(score.accelerator, score.precision)
    from medtransfer.cka.measurement import measure

    target = target.verify()
    check_images(target, score.split)
    compared = measure(candidates, target, params)
    values = [[None if np.isnan(value) else value for value in row] for row in compared.values.tolist()]
    return Similarity(
        target.info.target, target.info.fingerprint, score.split, compared.images, compared.batch, section.estimate,
        section.features, section.level, [candidate.name for candidate in candidates], weights, compared.levels, values, cell,
    )  # fmt: skip


def _read(file: Path) -> Similarity | None:
    try:
        stored = Similarity.read(file)
    except InputError:  # missing, of another version or broken
        return None
    return stored if is_unchanged(file) else None


def table_rows(similarity: Similarity) -> list[dict[str, Any]]:
    """Return one row per two levels, of one encoder or of two."""
    sides = [
        {"encoder": name, "level": level, "stride": stride, "channels": channels}
        for name, levels in zip(similarity.encoders, similarity.levels, strict=True)
        for level, (stride, channels) in enumerate(levels, start=-len(levels))
    ]
    return [
        {f"{side}_{key}": value for side, index in (("first", i), ("second", j)) for key, value in sides[index].items()}
        | {"cka": similarity.values[i][j]}
        for i, j in combinations(range(len(sides)), 2)
    ]


def metrics_of(similarity: Similarity) -> dict[str, float]:
    """Return the metrics of the run: by level that all encoders have, the mean over every two of them."""
    upper = np.triu_indices(len(similarity.encoders), 1)
    levels = range(1, min(map(len, similarity.levels)) + 1)
    means = {f"cka_level_{level}": float(similarity.at(-level)[upper].mean()) for level in levels}
    return {name: value for name, value in means.items() if value == value}


def _write(similarity: Similarity, out: Path) -> None:
    """Write the files; those of the same comparison are left as they are, and pictures of an earlier one are removed."""
    request = digest([__version__, asdict(similarity)])
    if read_finished(out, request) is not None:
        return
    from medtransfer.report import similarities

    forget_finished(out)
    write_text(out / TABLE, as_csv(table_rows(similarity)))
    similarities.write_png(out / PICTURE, similarity, similarities.main_map(similarity))
    shutil.rmtree(out / PAIRS, ignore_errors=True)
    files = [out / TABLE, out / PICTURE, out / SIMILARITY_FILE]
    for index, pair in enumerate(similarities.pair_maps(similarity) if len(similarity.encoders) > 2 else []):
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(pair.names))[:100].strip("-")
        files.append(out / PAIRS / f"{index:03d}-{name}.png")
        similarities.write_png(files[-1], similarity, pair)
    similarity.write(out / SIMILARITY_FILE)
    write_finished(out, request, [], files)


def _publish(similarity: Similarity, target: PreparedTarget, out: Path) -> None:
    """Log the comparison as one run; the same one is logged only once."""
    encoders = " ~ ".join(similarity.encoders) if len(similarity.encoders) == 2 else f"{len(similarity.encoders)} encoders"
    shown = {
        key: value for key, value in asdict(similarity).items() if key not in {"values", "levels", "weights", "cell", "encoders"}
    }
    run_params = {**shown, "encoders": ", ".join(similarity.encoders)}
    cell = digest([similarity.cell, similarity.level], 16)
    tags = {SIMILARITY: SIMILARITY_FILE}
    with tracking.once("cka", f"{encoders} → {similarity.target}", cell, run_params, tags, on_disk=True) as handle:
        if handle:
            handle.log_metrics(metrics_of(similarity))
            handle.log_dataset(similarity.target, similarity.data, target.folder, "scoring")
            for name in (SIMILARITY_FILE, TABLE, PICTURE):
                handle.log_artifact(out / name)
            if (out / PAIRS).is_dir():
                handle.log_artifact(out / PAIRS, PAIRS)
