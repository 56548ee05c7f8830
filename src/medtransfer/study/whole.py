"""The whole study in one process."""

from medtransfer import tracking
from medtransfer.config import Params
from medtransfer.study.cells import study_cells, study_series, with_values
from medtransfer.study.checks import check_encoder, check_study
from medtransfer.study.results import report
from medtransfer.study.stages import finetune, prepare, pretrain_apart, score
from medtransfer.study.store import RESULTS, command


@command(*RESULTS, "report")
def study(params: Params, short: bool = False) -> str:
    """Run the whole study, from prepare to report; whatever is finished is reused. `short` as for `report`."""
    chosen = params.study
    for encoder, origin in study_series(params, {}):
        check_encoder(params, encoder, origin)
    with tracking.project_run_set_aside():
        for target in chosen.targets:
            prepare(with_values(params, "prepare", target=target), may_lack_files=True)
        check_study(params)
        for encoder, origin in study_series(params, {}):
            pretrain_apart(with_values(params, "pretrain", encoder=encoder, origin=origin))
            for target in chosen.targets:
                score(with_values(params, "score", encoder=encoder, origin=origin, target=target))
        finetune(params, study_cells(params, {}))
    return report(params, short=short)
