"""Write the released results to the tracking store as finished runs of `medtransfer/replay`."""

import logging
from pathlib import Path

import pandas as pd

from medtransfer import tracking
from medtransfer.hashing import digest
from medtransfer.indicators.robustness.pairs import METRICS
from medtransfer.papers.hidy2024.store import DEFAULT, GROUP, KEY, STAGE, TABLE
from medtransfer.records import series_folder, write_text
from medtransfer.tracking import RunRecord

log = logging.getLogger("medtransfer")
SETTING = ["distance", "margin", "level", "pooled"]


def import_runs(downstream: pd.DataFrame, robustness: pd.DataFrame, digests: dict[str, str], out: Path) -> list[str]:
    """Write the missing runs: one per fine-tuning, and one per scored (encoder, scheme, target).

    Of lines with the same key the first is used; the audit reports the others.

    Args:
        downstream: table of `read_downstream`.
        robustness: table of `read_robustness`.
        digests: digests of the files `downstream` and `robustness`.
        out: folder for the tables of scores that become artifacts.

    Returns:
        The cells of all of them.
    """
    tuned = downstream.drop_duplicates(KEY)
    records = [_tuned(row, digests["downstream"]) for row in tuned.to_dict("records")]
    records += [
        _scored(dict(zip(GROUP, key, strict=True)), table, digests["robustness"], out)
        for key, table in mark_copies(robustness.drop_duplicates([*GROUP, *SETTING, "epoch"])).groupby(GROUP)
    ]
    written = tracking.write_runs(STAGE, records, "replay: to the tracking store")
    existed = f"; {len(records) - written} already existed" if written < len(records) else ""
    log.info("replay: %d runs written to the tracking store%s", written, existed)
    return [record.cell for record in records]


def mark_copies(robustness: pd.DataFrame) -> pd.DataFrame:
    """Add the column `copied`: whether a score of epoch 0 equals a later epoch's bit for bit in every setting of its group.

    A random initialisation whose scores equal a trained encoder's to the last bit, at every distance, margin, level and
    pooling, was not measured.
    """
    copied = []
    for key, table in robustness.groupby(GROUP):
        wide = table.pivot(index=SETTING, columns="epoch", values="loss")
        if 0 in wide and any(wide[0].equals(wide[epoch].rename(0)) for epoch in wide.columns if epoch):
            copied.append(key)
    keys = pd.Series(list(robustness[GROUP].itertuples(index=False, name=None)), index=robustness.index)
    return robustness.assign(copied=keys.isin(copied) & (robustness["epoch"] == 0))


def _tuned(row: dict[str, object], file: str) -> RunRecord:
    params = {"kind": "finetune", "file": file, "source": "imagenet", **{name: row[name] for name in KEY}}
    metrics = {str(name): float(str(value)) for name, value in row.items() if name not in {*KEY, "line"} and not pd.isna(value)}
    name = f"{row['target']}-{row['encoder']}-{row['scheme']}-e{int(str(row['epoch'])):03d}-{row['mode']}-s{row['seed']}"
    return RunRecord(name, digest({key: str(value) for key, value in params.items()}, 16), params, metrics)


def _scored(key: dict[str, str], table: pd.DataFrame, file: str, out: Path) -> RunRecord:
    folder = series_folder(out / key["target"], key["encoder"], key["scheme"])
    columns = [*SETTING, "epoch", "robustness", "copied"]
    write_text(folder / TABLE, table.sort_values([*SETTING, "epoch"])[columns].to_csv(index=False))
    at_default = table[(table[list(DEFAULT)] == pd.Series(DEFAULT)).all(axis=1) & ~table["copied"]]
    curves = {
        METRICS[bool(pooled)]: dict(zip(rows["epoch"].astype(int), rows["robustness"], strict=True))
        for pooled, rows in at_default.groupby("pooled")
    }
    params = {"kind": "robustness", "file": file, "source": "imagenet", **key, **DEFAULT}
    name = f"{key['target']}-{key['encoder']}-{key['scheme']}"
    cell = digest({name: str(value) for name, value in params.items()}, 16)
    return RunRecord(name, cell, params, {}, curves, artifacts={TABLE: folder / TABLE})
