"""The two released tables go in; finished runs of `medtransfer/replay`, each once, come out."""

from pathlib import Path

import pandas as pd

from medtransfer import tracking
from medtransfer.analysis.replayed import DEFAULT, KEY, STAGE, TABLE
from medtransfer.hashing import digest
from medtransfer.indicators.robustness.pairs import METRICS
from medtransfer.records import series_folder, write_text
from medtransfer.tracking import Record

SCORED = ["encoder", "scheme", "target"]
SETTING = ["distance", "margin", "level", "pooled"]


def import_runs(downstream: pd.DataFrame, robustness: pd.DataFrame, digests: dict[str, str], out: Path) -> int:
    """Write a run for every fine-tuning and for every (encoder, scheme, target) that was scored, those that are missing.

    Of lines with the same key the first counts; the audit names the others.

    Args:
        downstream: of `read_downstream`.
        robustness: of `read_robustness`.
        digests: of the files, `downstream` and `robustness`.
        out: gets the tables of scores that become artifacts.

    Returns:
        How many runs were written.
    """
    tuned = downstream.drop_duplicates(KEY)
    records = [_tuned(line, digests["downstream"]) for line in tuned.to_dict("records")]
    records += [
        _scored(dict(zip(SCORED, key, strict=True)), table, digests["robustness"], out)
        for key, table in mark_copies(robustness.drop_duplicates([*SCORED, *SETTING, "epoch"])).groupby(SCORED)
    ]
    return tracking.write_runs(STAGE, records, "replay: to the tracking store")


def mark_copies(robustness: pd.DataFrame) -> pd.DataFrame:
    """Add the column `copied`: a score of epoch 0 that has the bits of a later epoch's in every setting of its group.

    A random initialisation that scores like a trained encoder to the last bit, at every distance, margin, level and
    pooling, was not measured.
    """
    copied = []
    for key, table in robustness.groupby(SCORED):
        wide = table.pivot(index=SETTING, columns="epoch", values="loss")
        if 0 in wide and any(wide[0].equals(wide[epoch].rename(0)) for epoch in wide.columns if epoch):
            copied.append(key)
    keys = pd.Series(list(robustness[SCORED].itertuples(index=False, name=None)), index=robustness.index)
    return robustness.assign(copied=keys.isin(copied) & (robustness["epoch"] == 0))


def _tuned(line: dict[str, object], file: str) -> Record:
    params = {"kind": "finetune", "file": file, "source": "imagenet", **{name: line[name] for name in KEY}}
    metrics = {str(name): float(str(value)) for name, value in line.items() if name not in {*KEY, "line"} and not pd.isna(value)}
    name = f"{line['target']}-{line['encoder']}-{line['scheme']}-e{int(str(line['epoch'])):03d}-{line['mode']}-s{line['seed']}"
    return Record(name, digest({key: str(value) for key, value in params.items()}, 16), params, metrics)


def _scored(key: dict[str, str], table: pd.DataFrame, file: str, out: Path) -> Record:
    folder = series_folder(out / key["target"], key["encoder"], key["scheme"])
    columns = [*SETTING, "epoch", "robustness", "copied"]
    write_text(folder / TABLE, table.sort_values([*SETTING, "epoch"])[columns].to_csv(index=False))
    at_default = table[(table[list(DEFAULT)] == pd.Series(DEFAULT)).all(axis=1) & ~table["copied"]]
    curves = {
        METRICS[bool(pooled)]: dict(zip(found["epoch"].astype(int), found["robustness"], strict=True))
        for pooled, found in at_default.groupby("pooled")
    }
    params = {"kind": "robustness", "file": file, "source": "imagenet", **key, **DEFAULT}
    name = f"{key['target']}-{key['encoder']}-{key['scheme']}"
    cell = digest({name: str(value) for name, value in params.items()}, 16)
    return Record(name, cell, params, {}, curves, artifacts={TABLE: folder / TABLE})
