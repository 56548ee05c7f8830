"""Claims of Hosseinzadeh Taher et al., A systematic benchmarking analysis of transfer learning for medical image analysis.

Source: arXiv:2108.05930 (DART 2021); tables 2 to 8. Rows are initialisations, columns targets; `a>b` was pretrained on a, then b.
"""

from typing import Any

from medtransfer.papers.printed.claims import Claim, Pair
from medtransfer.papers.printed.paper import ANY, Paper, Setting
from medtransfer.papers.printed.tables import Cell

SEGMENTATION, CLASSIFICATION = ("PXS", "VFS", "LXS"), ("DXC14", "DXC5", "TXC", "ECC")
TOP = ("swav", "barlowtwins", "sela-v2", "deepcluster-v2")
SELF_SUPERVISED = (
    "insdis", "moco-v1", "pcl-v1", "pirl", "pcl-v2", "simclr-v1", "moco-v2", "simclr-v2", "sela-v2", "infomin", "byol",
    "deepcluster-v2", "swav", "barlowtwins",
)  # fmt: skip
IN_DOMAIN = {"chestx-ray14": ("DXC5", "TXC", "PXS", "LXS"), "chexpert": ("DXC14", "TXC", "PXS", "LXS")}  # never on their own source

FIVE = tuple(f"auc_class_{c}" for c in (2, 5, 6, 8, 10))  # cardiomegaly, edema, consolidation, atelectasis, effusion
CHANGES: dict[str, dict[str, Any]] = {
    "DXC5": {"train_epochs": 10, "patience": ANY}, "ECC": {"train_epochs": 1, "lr": 0.0004, "patience": ANY}, "VFS": {"loss": "ce"},
}  # fmt: skip
# Target, metrics, recipe, and training and test images at least, by the paper's counts and official splits: those of the drawn
# splits are 80 % or more of the images, less a tenth for validation.
TARGETS: dict[str, tuple[str, tuple[str, ...], str, int, int]] = {
    "DXC14": ("chestxray14", ("auc",), "recipe-classification", 75_000, 25_596),
    "DXC5": ("chexpert", FIVE, "recipe-classification", 190_000, 234),
    "TXC": ("shenzhen", ("auc",), "recipe-classification", 460, 130),
    "ECC": ("rsna-pe", ("auc",), "recipe-classification", 1_300_000, 240_000),
    "PXS": ("siim", ("dice",), "recipe-segmentation", 7_600, 2_100),
    "VFS": ("drive", ("dice",), "recipe-segmentation", 16, 20),
    "LXS": ("montgomery", ("dice",), "recipe-segmentation", 98, 27),
}


def _setting(cell: Cell) -> Setting | None:
    """Return what a cell was measured on; None of epochs and of results of others."""
    if cell.column not in TARGETS or cell.row == "state-of-the-art":
        return None
    target, metrics, recipe, train, test = TARGETS[cell.column]
    return Setting((cell.row,), target, "full", metrics, recipe, train, test, changes=CHANGES.get(cell.column, {}))


def _pair(table: int, first: str, second: str, column: str) -> Pair:
    name = f"table{table}"
    return Pair((name, first, column), (name, second, column))


def _adapted(name: str, column: str) -> list[Pair]:
    """Pairs of the domain-adapted model with ImageNet's and with the in-domain one."""
    return [_pair(2, f"supervised>{name}", other, column) for other in ("supervised", name)]


CLAIMS = (
    Claim("3.1, Fig. 1", "Fine-tuning from iNat2021 outperforms ImageNet in segmentation: PXS, VFS and LXS.",
          {task: [_pair(4, "inat2021", "supervised", task)] for task in SEGMENTATION}),
    Claim("C, Table 3", "Even iNat2021 mini is equal or superior to ImageNet in segmentation.",
          {task: [_pair(3, "inat2021-mini", "supervised", task)] for task in SEGMENTATION}, ties=True),
    Claim("3.1, Fig. 1", "ImageNet outperforms iNat2021 in classification: DXC14, DXC5, TXC and ECC.",
          {task: [_pair(4, "supervised", "inat2021", task)] for task in CLASSIFICATION}),
    Claim("3.2, Fig. 2", "For each task at least three self-supervised models outperform the supervised one on average.",
          {task: [_pair(5, method, "supervised", task) for method in SELF_SUPERVISED] for task in CLASSIFICATION + SEGMENTATION},
          each=3),
    Claim("3.2, Fig. 2", "SwAV, Barlow Twins, SeLa-v2 and DeepCluster-v2 outperform the supervised model in most tasks.",
          {method: [_pair(5, method, "supervised", task) for task in CLASSIFICATION + SEGMENTATION] for method in TOP}, each=4),
    Claim("3.3, Table 2", "ChestX-ray14 and CheXpert models consistently outperform the ImageNet model in all cases.",
          {name: [_pair(2, name, "supervised", task) for task in tasks] for name, tasks in IN_DOMAIN.items()}),
    Claim("3.3, Table 2", "For DXC14, ImageNet→CheXpert surpasses both ImageNet and CheXpert.",
          {"DXC14": _adapted("chexpert", "DXC14")}),
    Claim("3.3, Table 2", "Domain-adapted models dominate ImageNet and the in-domain models at LXS, TXC and PXS.",
          {task: [*_adapted("chestx-ray14", task), *_adapted("chexpert", task)] for task in ("LXS", "TXC", "PXS")}),
    Claim("3.3, Table 2", "In DXC5 the domain-adapted model is behind ImageNet and the in-domain model.",
          {"DXC5": [_pair(2, other, "supervised>chestx-ray14", "DXC5") for other in ("supervised", "chestx-ray14")]}),
    Claim("E.1, Table 6", "iNat2021 considerably accelerates training in two of three segmentation tasks (epochs).",
          {task: [_pair(6, "inat2021", "supervised", f"{task}/epochs")] for task in SEGMENTATION}, least=2, lower=True),
    Claim("E.2, Table 7", "In DXC14, SwAV and Barlow Twins are superior to the supervised model.",
          {"DXC14": [_pair(7, method, "supervised", "DXC14") for method in ("swav", "barlowtwins")]}),
    Claim("E.2, Table 7", "In DXC14, they need significantly fewer epochs than the supervised model.",
          {"DXC14": [_pair(7, method, "supervised", "DXC14/epochs") for method in ("swav", "barlowtwins")]}, lower=True),
    Claim("E.2, Table 7", "In PXS, SeLa-v2, DeepCluster-v2 and SwAV outperform the supervised model.",
          {"PXS": [_pair(7, method, "supervised", "PXS") for method in ("sela-v2", "deepcluster-v2", "swav")]}),
    Claim("E.2, Table 7", "In PXS, these three also train faster than the supervised model (epochs).",
          {"PXS": [_pair(7, method, "supervised", "PXS/epochs") for method in ("sela-v2", "deepcluster-v2", "swav")]}, lower=True),
    Claim("E.2, Table 7", "In VFS, the four best self-supervised models outperform the supervised one.",
          {"VFS": [_pair(7, method, "supervised", "VFS") for method in TOP]}),
    Claim("E.2, Table 7", "In VFS, these four also train faster (epochs).",
          {"VFS": [_pair(7, method, "supervised", "VFS/epochs") for method in TOP]}, lower=True),
    Claim("E.2, Table 5", "With equally many epochs SimCLR-v1, SeLa-v2 and Barlow Twins are superior in DXC5 and ECC.",
          {task: [_pair(5, method, "supervised", task) for method in ("simclr-v1", "sela-v2", "barlowtwins")]
           for task in ("DXC5", "ECC")}),
    Claim("E.3, Table 8", "ChestX-ray14 and CheXpert models train faster than ImageNet models in most cases (epochs).",
          {"all": [_pair(8, name, "supervised", f"{task}/epochs") for name, task in (
              ("chestx-ray14", "PXS"), ("chestx-ray14", "LXS"), ("chexpert", "DXC14"), ("chexpert", "PXS"), ("chexpert", "LXS"))]},
          each=3, lower=True),
    Claim("E.3, Table 8", "Domain-adapted models converge faster than ImageNet models: the overall trend (epochs).",
          {"all": [_pair(8, f"supervised>{name}", "supervised", f"{task}/epochs") for name, task in (
              ("chestx-ray14", "PXS"), ("chestx-ray14", "LXS"), ("chexpert", "DXC14"), ("chexpert", "PXS"), ("chexpert", "LXS"))]},
          each=3, lower=True),
)  # fmt: skip

PAPER = Paper(
    "hosseinzadeh-taher", "Hosseinzadeh Taher et al. 2021, arXiv:2108.05930", CLAIMS,
    (
        "Spreads are over ten runs. The authors' code divides by n where a sample's spread divides by n − 1; what the tables hold "
        "is unsaid, so the p-values of both readings are given.",
        "Which of the published iNat2021 weights were taken is unsaid: those called supervised were started from ImageNet.",
    ),
    _setting, 100.0,
)  # fmt: skip
