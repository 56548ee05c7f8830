"""Registry of indicators."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from medtransfer.errors import InputError
from medtransfer.registry import Registry

if TYPE_CHECKING:
    from medtransfer.indicators.contract import Indicator

ALL = "all"  # in a list of names: every indicator
INDICATORS: "Registry[Indicator]" = Registry({
    "robustness": "medtransfer.indicators.robustness.measure:Robustness",
    "logme": "medtransfer.indicators.logme:LogME",
    "uniformity": "medtransfer.indicators.uniformity:Uniformity",
    "alignment": "medtransfer.indicators.alignment:Alignment",
    "rankme": "medtransfer.indicators.spectrum:RankMe",
    "nesum": "medtransfer.indicators.spectrum:NESum",
    "pr": "medtransfer.indicators.spectrum:ParticipationRatio",
    "alpha": "medtransfer.indicators.alpha:AlphaReQ",
    "selfcluster": "medtransfer.indicators.selfcluster:SelfCluster",
    "twonn": "medtransfer.indicators.twonn:TwoNN",
    "lidar": "medtransfer.indicators.lidar:LiDAR",
    "dse": "medtransfer.indicators.dse:DSE",
    "ridge": "medtransfer.indicators.ridge:Ridge",
    "knn": "medtransfer.indicators.knn:NearestNeighbours",
    "fr": "medtransfer.indicators.friedman_rafsky:FriedmanRafsky",
    "hscore_reg": "medtransfer.indicators.hscore:RegularisedHScore",
    "hscore": "medtransfer.indicators.hscore:HScore",
    "transrate": "medtransfer.indicators.transrate:TransRate",
    "gbc": "medtransfer.indicators.gbc:GBC",
    "gbc_diag": "medtransfer.indicators.gbc:DiagonalGBC",
    "nleep": "medtransfer.indicators.nleep:NLEEP",
    "leep": "medtransfer.indicators.leep:LEEP",
    "nce": "medtransfer.indicators.leep:NCE",
    "sfda": "medtransfer.indicators.sfda:SFDA",
    "parc": "medtransfer.indicators.parc:PARC",
    "ncti": "medtransfer.indicators.ncti:NCTI",
    "gradients": "medtransfer.indicators.gradients:Gradients",
    "emms": "medtransfer.indicators.emms:EMMS",
    "ped": "medtransfer.indicators.ped:PED",
    "etran": "medtransfer.indicators.etran:ETran",
    "grtd": "medtransfer.indicators.grtd:GRTD",
    "ccfv": "medtransfer.indicators.ccfv:CCFV",
    "ccfv_raw": "medtransfer.indicators.ccfv:RawCCFV",
    "lbtc": "medtransfer.indicators.lbtc:LBTC",
    "lbtc_corrected": "medtransfer.indicators.lbtc:CorrectedLBTC",
}, make=lambda kind: kind())  # fmt: skip


def find_indicators(names: Sequence[str], key: str) -> "list[Indicator]":
    """Look up indicators by name; repeated names are ignored, and ALL stands for every one.

    Args:
        names: keys of INDICATORS, or ALL.
        key: key of params.yaml that lists them, for the message.

    Raises:
        InputError: there is no indicator of a name, or no name.
    """
    require_known(names, key)
    return [INDICATORS[name] for name in (INDICATORS if ALL in names else dict.fromkeys(names))]


def require_known(names: Sequence[str], key: str) -> None:
    """Refuse names that no indicator has, without importing any.

    Args:
        names: keys of INDICATORS, or ALL.
        key: key of params.yaml that lists them, for the message.

    Raises:
        InputError: there is no indicator of a name, or no name.
    """
    unknown = [name for name in names if name not in INDICATORS and name != ALL]
    if unknown or not names:
        known = ", ".join((*INDICATORS, ALL))
        raise InputError(f"expected {key} out of {known}, but got {repr(unknown[0]) if unknown else 'none'}")
