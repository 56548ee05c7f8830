"""Whether queued jobs of earlier params have the results that are asked for now."""

from pathlib import Path

from medtransfer.config import Params

MADE = ("samples", "prepare", "pretrain")  # sections that what a job starts from may depend on
SECTIONS = {"prepare": MADE[:2], "pretrain": MADE, "score": (*MADE, "score"), "finetune": (*MADE, "finetune")}
REGISTRIES = (("prepare", "targets"), ("pretrain", "encoders"), ("pretrain", "origins"))
WHERE = ("launcher", "workers", "accelerator")  # keys of sections that no result depends on
CHOSEN = {  # keys that a job has values of its own for, and others that only say how fast it is
    "prepare": ("target", "new"), "pretrain": ("encoder", "origin"), "score": ("target", "encoder", "origin", "batch_size"),
    "finetune": ("target", "encoder", "origin", "epoch", "mode", "seed", "size", "fold", "folds"),
}  # fmt: skip


def give_same_results(params: Params, others: Params, folder: Path, kind: str) -> bool:
    """Return whether a job has the same result by two params, whatever is chosen from the study and wherever jobs run.

    Targets, encoders and origins that only one of them knows are no part of a job that both have. A pretraining that may stop
    early also depends on the scores that it watches, and so does everything that starts from it.

    Args:
        params: params of a batch.
        others: params of another batch.
        folder: folder of the launcher; below that of `rank`, `race` or `guard`, their section counts, too.
        kind: kind of the jobs.
    """
    watched = kind != "prepare" and (params.pretrain.stop_on is not None or others.pretrain.stop_on is not None)
    own = [
        name for name in ("rank", "race", "guard") if folder.absolute().is_relative_to(Path(getattr(params, name).out).absolute())
    ]
    watching = ("score",) if watched else ()
    ours, theirs = (each.model_dump(mode="json", include={*SECTIONS[kind], *own, *watching}) for each in (params, others))
    for sections in (ours, theirs):
        for name, section in sections.items():
            for key in (*WHERE, *CHOSEN.get(name, ())):
                section.pop(key, None)
    for section, key in REGISTRIES:
        if section not in ours:
            continue
        both = ours[section][key].keys() & theirs[section][key].keys()
        for sections in (ours, theirs):
            sections[section][key] = {name: value for name, value in sections[section][key].items() if name in both}
    return ours == theirs
