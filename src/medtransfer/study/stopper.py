"""What stops a pretraining early."""

from pathlib import Path
from typing import TYPE_CHECKING

from medtransfer.config import Params
from medtransfer.errors import StageError
from medtransfer.hashing import digest
from medtransfer.records import PreparedTarget

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from medtransfer.encoders.contract import Encoder
    from medtransfer.encoders.source_head import NoHead, SourceHead
    from medtransfer.pretrain.stopping import Stopper
    from medtransfer.selectors.rules import Observation


def stopper_of(params: Params) -> "Stopper | None":
    """Build what stops by `pretrain.stop_rule` on `pretrain.stop_by`, for the target `pretrain.stop_on` at `score`'s settings.

    If the indicator has one metric per pooling, the one that fits the mode of fine-tuning is watched.
    """
    name = params.pretrain.stop_on
    if name is None:
        return None
    from medtransfer.indicators.contract import pick
    from medtransfer.indicators.registry import find_indicators
    from medtransfer.indicators.requirements import require_labels
    from medtransfer.indicators.streamed_pass import measure
    from medtransfer.pretrain.stopping import Stopper
    from medtransfer.score.options import options_of, settings_of, views_of
    from medtransfer.selectors.rules import Observation, find_stopping_rule
    from medtransfer.training.arithmetic import arithmetic
    from medtransfer.training.device import open_fabric

    rule = find_stopping_rule(params.pretrain.stop_rule, "pretrain.stop_rule")
    target = PreparedTarget.open(Path(params.prepare.out) / name).verify()
    section, options, views = params.score, options_of(params.score), views_of(params.score)
    (indicator,) = find_indicators([params.pretrain.stop_by], "pretrain.stop_by")
    require_labels([indicator], target, "pretrain.stop_by")
    setting = indicator.watched(options, params.finetune.mode)

    def score(encoder: "Encoder", contract: "Mapping[str, Any]", head: "SourceHead | NoHead") -> "Observation":
        fabric = open_fabric(params.pretrain.accelerator, 1, section.precision)
        with arithmetic(fabric.device, tf32=section.tf32, reproducible=True):
            measured = measure(
                [indicator], encoder, target, views, options, contract=contract, batch_size=section.batch_size,
                device=fabric.device, autocast=fabric.autocast, label=f"{indicator.name} on {name}", head=head,
            )  # fmt: skip
        score = pick(measured[indicator.name].scores, setting)
        if broken := score.flags.get("nonfinite"):
            raise StageError(
                f"expected finite features of the encoder on {name} to stop by, but {broken} are not finite; lower pretrain.lr or "
                "clip the gradient (pretrain.clip_grad)"
            )
        if score.value is None:
            raise StageError(f"expected {indicator.name} on {name} to be defined, but it is not; set another pretrain.stop_by")
        replicates = indicator.replicates(measured[indicator.name], setting)
        if "error" in rule.needs and score.error is None and not replicates:
            raise StageError(
                f"expected a standard error of {indicator.name} on {name} for pretrain.stop_rule {params.pretrain.stop_rule}, but "
                "it has none; set score.blocks to 3 or more and use a target of at least 3 patients, or set another rule"
            )
        return Observation(score.value, score.error, None, replicates)

    identity = digest([target.info.fingerprint, settings_of(section), indicator.name, setting, params.pretrain.stop_rule])
    return Stopper(name, identity, score, indicator.name, indicator.higher_is_better, rule)
