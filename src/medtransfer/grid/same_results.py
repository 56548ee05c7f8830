"""Whether queued jobs of earlier params have the results that are asked for now."""

from pathlib import Path

from medtransfer.config import Params

SECTIONS = ("samples", "prepare", "pretrain", "score", "finetune")  # that the result of any job may depend on
REGISTRIES = (("prepare", "targets"), ("pretrain", "encoders"), ("pretrain", "origins"))
WHERE = ("launcher", "workers")  # keys of sections that no result depends on


def give_same_results(params: Params, others: Params, folder: Path) -> bool:
    """Return whether a job has the same result by two params, whatever is chosen from the study and wherever jobs run.

    Targets, encoders and origins that only one of them knows are no part of a job that both have.

    Args:
        params: params of a batch.
        others: params of another batch.
        folder: folder of the launcher; below that of `rank`, `race` or `guard`, their section counts, too.
    """
    own = [
        name for name in ("rank", "race", "guard") if folder.absolute().is_relative_to(Path(getattr(params, name).out).absolute())
    ]
    ours, theirs = (each.model_dump(mode="json", include={*SECTIONS, *own}) for each in (params, others))
    for sections in (ours, theirs):
        for section in sections.values():
            for key in WHERE:
                section.pop(key, None)
    for section, key in REGISTRIES:
        both = ours[section][key].keys() & theirs[section][key].keys()
        for sections in (ours, theirs):
            sections[section][key] = {name: value for name, value in sections[section][key].items() if name in both}
    return ours == theirs
