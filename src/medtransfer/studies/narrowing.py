"""Params that define what a study uses alone: what a report judges by, and what DVC makes stages of."""

from medtransfer import study
from medtransfer.config import Params
from medtransfer.pretrain.start import source_of
from medtransfer.studies.inputs import all_series, source_target


def of_study(params: Params, targets: list[str], origins: list[str]) -> Params:
    """Return params whose study has some of its targets and origins, and which define these, and what they need, alone.

    Args:
        params: params of the study.
        targets: its targets that are left.
        origins: its origins that are left.
    """
    params = study.with_values(params, "study", targets=targets, origins=origins)
    series = all_series(params)
    named = {params.pretrain.stop_on, *targets, *source_targets(params)}
    prepared = {name: target for name, target in params.prepare.targets.items() if name in named}
    encoders = {name: params.pretrain.encoders[name] for name, _ in series}
    defined = {name: params.pretrain.origins[name] for _, name in series}
    params = study.with_values(params, "prepare", targets=prepared)
    return study.with_values(params, "pretrain", encoders=encoders, origins=defined)


def source_targets(params: Params) -> set[str]:
    """Return the targets that pretrainings of a study have as their sources when they are prepared."""
    trained = [origin for _, origin in all_series(params) if study.is_trained(params, origin)]
    roots = {source_of(params.pretrain.model_copy(update={"origin": origin}))[1] for origin in trained}
    return {name for root in roots if (name := source_target(params, root))}


def with_defaults_of_study(params: Params) -> Params:
    """Return params whose single commands take the first target, encoder and origin of the study."""
    encoder, origin = study.study_series(params, {})[0]
    first = {"target": params.study.targets[0], "encoder": encoder, "origin": origin}
    for section in ("prepare", "pretrain", "score", "finetune", "guard"):
        named = {name: value for name, value in first.items() if name in type(getattr(params, section)).model_fields}
        params = study.with_values(params, section, **named)
    return study.with_values(params, "finetune", epoch=study.study_epochs(params, origin)[-1])
