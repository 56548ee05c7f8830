"""The paper's figures 1 to 4 and A.2, as PNG with the data of each as CSV."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from medtransfer.analysis.model import Analysis, Judged
from medtransfer.papers.hidy2024.store import Released
from medtransfer.records import atomic_path, write_text
from medtransfer.report.plots.figure import draw

ENCODERS = {"unet": "#0072B2", "resnet50": "#D55E00", "swin": "#009E73"}
RANKED = {"dice": "Dice", "jaccard": "Jaccard", "mcc": "MCC", "average_precision": "mAP", "hd95": "−HD95", "precision": "precision",
          "sensitivity": "sensitivity", "balanced_accuracy": "balanced accuracy", "specificity": "specificity",
          "accuracy": "accuracy", "auc": "AUROC"}  # fmt: skip
AGREEING = ["dice", "jaccard", "mcc", "average_precision", "hd95"]  # metrics that agree according to section A.5


def draw_figures(released: Released, analyses: Mapping[str, Analysis], folder: Path) -> list[str]:
    """Draw figures 1 to 4 and A.2.

    Args:
        released: released results from the store.
        analyses: analyses by alignment, `as-published` and `keyed`.
        folder: output folder.

    Returns:
        Names of the pictures.
    """
    names = []
    for name, analysis in analyses.items():
        first = _select(analysis, target="acdc", mode="decoder", encoder=("resnet50", "unet"))
        third = _select(analysis, target="idrid", mode="full", origin="advanced")
        third += _select(analysis, target="acdc", mode="decoder", origin="advanced")
        for number, judged in (("1", first), ("3", third)):
            if judged:
                names.append(f"figure-{number}-{name}.png")
                draw(folder / names[-1], judged)
                write_text(folder / f"figure-{number}-{name}.csv", _checkpoints(judged).to_csv(index=False))
    _figure_2(released, folder / "figure-2.png")
    _figure_4(analyses, folder / "figure-4.png")
    if correlations := rank_correlations(released):
        names.append("figure-A.2.png")
        _figure_a2(correlations, folder / names[-1])
    return sorted([*names, "figure-2.png", "figure-4.png"])


def _select(analysis: Analysis, **fields: str | tuple[str, ...]) -> list[Judged]:
    return [
        case for case in analysis.judged
        if all(case.pool.fields[name] in ((value,) if isinstance(value, str) else value) for name, value in fields.items())
    ]  # fmt: skip


def _checkpoints(judged: list[Judged]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                **case.pool.fields, "epoch": candidate.key, "dice": candidate.mean, "std": candidate.std,
                "seeds": candidate.seeds, "robustness": candidate.robustness,
            }
            for case in judged for candidate in case.candidates
        ]
    )  # fmt: skip


def _figure_2(released: Released, path: Path) -> None:
    """Draw source accuracy by epoch, only at the checkpoints, since the learning curves between them are not released."""
    accuracy = released.dice.groupby(["encoder", "scheme", "epoch"])["source_accuracy"].first()
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for panel, scheme in zip(axes, ("simple", "advanced"), strict=True):
        for encoder, colour in ENCODERS.items():
            if (encoder, scheme) in accuracy.index.droplevel("epoch"):
                values = accuracy[encoder, scheme]
                panel.plot(values.index, values, color=colour, marker="o", markersize=3, label=encoder)
        panel.set_title(scheme, fontsize=9, loc="left")
        panel.set_xlabel("pretraining epochs", fontsize=8)
        panel.grid(alpha=0.3)
    axes[0].set_ylabel("validation accuracy on ImageNet", fontsize=8)
    axes[0].legend(frameon=False, fontsize=8)
    _save(figure, path)
    write_text(path.with_suffix(".csv"), accuracy.reset_index().to_csv(index=False))


def _figure_4(analyses: Mapping[str, Analysis], path: Path) -> None:
    """Draw how often the online rule chooses each epoch, over the configurations of each mode, in each alignment."""
    chosen = pd.DataFrame(
        [
            {"alignment": name, "mode": case.pool.fields["mode"], "epoch": verdict.candidate}
            for name, analysis in analyses.items() for case in analysis.judged for verdict in case.verdicts
            if verdict.selector.name == "online"
        ], columns=["alignment", "mode", "epoch"],
    )  # fmt: skip
    judged = [case for analysis in analyses.values() for case in analysis.judged]
    epochs = sorted({candidate.key for case in judged for candidate in case.candidates} - {0})
    counts = chosen.groupby(["alignment", "mode", "epoch"]).size().rename("count").reset_index()
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for panel, mode in zip(figure.subplots(1, 2, sharey=True), ("full", "decoder"), strict=True):
        for side, (name, colour) in enumerate(zip(analyses, ("#E69F00", "#0072B2"), strict=True)):
            by_epoch = counts[(counts["alignment"] == name) & (counts["mode"] == mode)].set_index("epoch")["count"]
            heights = [int(by_epoch.get(epoch, 0)) for epoch in epochs]
            panel.bar([at + (side - 0.5) * 0.4 for at in range(len(epochs))], heights, 0.4, color=colour, label=name)
        panel.set_xticks(range(len(epochs)), [str(epoch) for epoch in epochs])
        panel.set_title("full training (flattened)" if mode == "full" else "decoder only (pooled)", fontsize=9, loc="left")
        panel.set_xlabel("epoch chosen online", fontsize=8)
    figure.axes[0].set_ylabel("configurations", fontsize=8)
    figure.axes[0].legend(frameon=False, fontsize=8)
    _save(figure, path)
    write_text(path.with_suffix(".csv"), counts.to_csv(index=False))


def rank_correlations(released: Released) -> dict[str, pd.DataFrame]:
    """Compute Spearman's correlations of the evaluation metrics over the two-class models: `all`, and by dataset.

    HD95 is negated, so that higher is better for all; models of datasets with several foreground classes lack some metrics.
    """
    complete = released.dice.dropna(subset=[name for name in RANKED if name in released.dice])
    tables = {"all": complete, **{str(target): table for target, table in complete.groupby("target")}}
    return {
        name: table.assign(hd95=-table["hd95"])[[metric for metric in RANKED if metric in table]].corr(method="spearman")
        for name, table in tables.items() if len(table) > 1
    }  # fmt: skip


def _figure_a2(correlations: Mapping[str, pd.DataFrame], path: Path) -> None:
    figure = Figure(figsize=(5.2 * len(correlations), 5), layout="constrained")
    for panel, (name, table) in zip(figure.subplots(1, len(correlations), squeeze=False)[0], correlations.items(), strict=True):
        image = panel.imshow(table, cmap="RdBu", vmin=-1, vmax=1)
        labels = [RANKED[column] for column in table]
        panel.set_xticks(range(len(labels)), labels, rotation=60, ha="right", fontsize=7)
        panel.set_yticks(range(len(labels)), labels, fontsize=7)
        for row, values in enumerate(table.to_numpy()):
            for column, value in enumerate(values):
                colour = "white" if abs(value) > 0.6 else "black"
                panel.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=6, color=colour)
        panel.set_title("all models together" if name == "all" else f"models of {name}", fontsize=9, loc="left")
    figure.colorbar(image, ax=figure.axes, shrink=0.7, label="Spearman correlation")
    _save(figure, path)
    rows = pd.concat([table.rename_axis("metric").reset_index().assign(models=name) for name, table in correlations.items()])
    write_text(path.with_suffix(".csv"), rows.to_csv(index=False))


def _save(figure: Figure, path: Path) -> None:
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=130, format="png")
