"""Claims of Dippel et al. on which parts of a segmentation network to transfer, and from which pretext task.

Source: Dippel, Lenga, Goerttler, Obermayer, Höhne, Transfer learning for segmentation problems: choose the right encoder and skip
the decoder, 2022; tables 2 to 5. Rows are `<scenario>/<pretext>`, columns targets, of table 2 with the share that is trained on.
"""

from collections.abc import Iterable

from medtransfer.papers.printed.claims import Claim, Pair
from medtransfer.papers.printed.paper import ANY, Paper, Setting
from medtransfer.papers.printed.tables import Cell

SHARES = [f"{name}/{share}%" for name in ("flowers17", "pets") for share in (1, 5, 20)]
STREETS, DOGS = ["cityscapes-bus", "voc-airplane"], ["voc-cat", "voc-horse"]
RANDOM, SIMCLR = "random/none", "cls-enc/simclr"
CARS, BREEDS = "cls-enc/classification-cars", "cls-enc/classification-dog-breeds"
BOTH = ("seg-enc-dec", "seg-enc")  # with the decoder, and the encoder alone
PRETEXTS = {  # by table: its columns, and the pretext tasks that train a decoder
    2: (SHARES, ("reconstruction", "conrec")),
    4: (STREETS, ("reconstruction", "segmentation-cars", "conrec")),
    5: (DOGS, ("segmentation-dogs",)),
}
CLASSIFIED = {2: (SIMCLR,), 4: (SIMCLR, CARS), 5: (BREEDS,)}

# Our target, training and test images by column, the sizes of subsets by share.
SUBSETS = {"flowers17": ("8", "42", "170"), "pets": ("73", "367", "1470")}
TARGETS = {"flowers17": ("flowers17", 679), "pets": ("oxford-pets", 5_879), "voc-airplane": ("voc-aeroplane", 90),
           "voc-cat": ("voc-cat", 119), "voc-horse": ("voc-horse", 79)}  # fmt: skip
NAMES = {"classification-dog-breeds": "classification-dogs"}
SOURCES = {"flowers17": "flowers102", "pets": "pets", "voc-airplane": "cityscapes"}  # of the self-supervised ones


def _setting(cell: Cell) -> Setting | None:
    """Return what a cell was measured on; None of counts, of the lung nodules, and of the bus, whose split is unsaid."""
    column, _, share = cell.column.partition("/")
    if cell.table not in ("table2", "table4", "table5") or column not in TARGETS:
        return None
    target, test = TARGETS[column]
    size = SUBSETS[column][("1%", "5%", "20%").index(share)] if share else "None"
    train = int(size) if share else {"voc-airplane": 88, "voc-cat": 131, "voc-horse": 68}[column]
    scenario, _, pretext = cell.row.partition("/")
    own = f"{pretext}-{SOURCES[column]}" if pretext in ("simclr", "reconstruction", "conrec") else NAMES.get(pretext, pretext)
    mode = "seg-enc-dec" if scenario == "seg-enc-dec" else "full"
    start = "random" if scenario == "random" else own
    return Setting((start,), target, mode, ("dice",), "dippel", train, test, size, "runs", {"train_epochs": ANY, "test_every": ANY})


def _pair(table: int, first: str, second: str, column: str) -> Pair:
    name = f"table{table}"
    return Pair((name, first, column), (name, second, column))


def _decoders(tables: Iterable[int]) -> dict[str, list[Pair]]:
    """Pairs of a pretext with its decoder and without."""
    return {
        f"{pretext} {column}": [_pair(table, f"seg-enc-dec/{pretext}", f"seg-enc/{pretext}", column)]
        for table in tables for column in PRETEXTS[table][0] for pretext in PRETEXTS[table][1]
    }  # fmt: skip


def _against(table: int, columns: Iterable[str], pretext: str, others: Iterable[str]) -> dict[str, list[Pair]]:
    """Pairs of a pretext with others, in the same scenario where they have both."""
    return {
        f"{column} {scenario}": [
            _pair(table, f"{scenario}/{pretext}", other if "/" in other else f"{scenario}/{other}", column) for other in others
        ]
        for column in columns for scenario in BOTH
    }  # fmt: skip


NODULES = {
    metric: [_pair(3, "seg-enc-dec", "seg-enc", f"luna-nodule/{metric}")] for metric in ("dice", "iou")
}  # fmt: skip

CLAIMS = (
    Claim("Abstract", "Transferring the decoder does not help: all targets and pretext tasks of tables 2 to 5.",
          {**_decoders(PRETEXTS), **NODULES}, same=True),
    Claim("Abstract", "Encoders of segmentation or reconstruction are better than those of classification, SimCLR among these.",
          {f"table {table} {column}": [_pair(table, f"seg-enc/{pretext}", other, column) for pretext in pretexts
                                       for other in CLASSIFIED[table]]
           for table, (columns, pretexts) in PRETEXTS.items() for column in columns}),
    Claim("3, Table 2", "Random weights are the worst.",
          {column: [_pair(2, row, RANDOM, column) for row in (SIMCLR, *(f"{mode}/{name}" for mode in BOTH
                                                                        for name in PRETEXTS[2][1]))] for column in SHARES}),
    Claim("3, Table 2", "ConRec outperforms all other methods across data regimes and datasets.",
          _against(2, SHARES, "conrec", (RANDOM, SIMCLR, "reconstruction"))),
    Claim("3, Table 2", "A random decoder has no significant influence on the final performance.", _decoders([2]), same=True),
    Claim("4, Table 3", "No significant difference between full initialisation and a random decoder: lung nodules.",
          NODULES, same=True),
    Claim("5, Table 2", "The encoder of SimCLR is significantly worse than those of ConRec and reconstruction.",
          {column: [_pair(2, f"seg-enc/{name}", SIMCLR, column) for name in PRETEXTS[2][1]] for column in SHARES}),
    Claim("5, Table 2", "SimCLR brings no advantage over a random initialisation.",
          {column: [_pair(2, RANDOM, SIMCLR, column)] for column in SHARES}, ties=True),
    Claim("5.1, Table 4", "A random decoder makes no significant difference on bus and airplane.", _decoders([4]), same=True),
    Claim("5.1, Table 4", "Classification of cars improves on random weights, but does not reach segmentation.",
          {column: [_pair(4, CARS, RANDOM, column), *(_pair(4, f"{mode}/segmentation-cars", CARS, column) for mode in BOTH)]
           for column in STREETS}),
    Claim("5.1, Table 4", "On the bus, reconstruction-based models are similar to car classification.",
          {f"{mode} {name}": [_pair(4, f"{mode}/{name}", CARS, "cityscapes-bus")] for mode in BOTH
           for name in ("reconstruction", "conrec")}, same=True),
    Claim("5.1, Table 4", "On the bus, reconstruction-based models are significantly behind segmentation.",
          _against(4, ["cityscapes-bus"], "segmentation-cars", ("reconstruction", "conrec"))),
    Claim("5.1, Table 4", "On the airplane, ConRec outperforms classification and the other self-supervised models.",
          _against(4, ["voc-airplane"], "conrec", (CARS, SIMCLR, "reconstruction"))),
    Claim("5.1, Table 4", "On the airplane, ConRec is on par with segmentation.",
          _against(4, ["voc-airplane"], "conrec", ("segmentation-cars",)), same=True),
    Claim("5.1, Table 5", "Segmentation of dogs significantly outperforms random weights and classification of breeds.",
          _against(5, DOGS, "segmentation-dogs", (RANDOM, BREEDS))),
)  # fmt: skip

PAPER = Paper(
    "dippel", "Dippel et al. 2022, Choose the right encoder and skip the decoder", CLAIMS,
    (
        "How many runs the spreads of tables 2, 4 and 5 are over is unsaid; they are tested as those of three, the number that the "
        "paper gives for table 3. With three runs a test sees large differences alone: “not significant” is no evidence of none.",
        "Spreads are printed with one digit: ± 0.0 is anything below .05, and its tests come out too sure.",
        "The table of sizes has 7,375 pets, of which the published list has 7,349.",
    ),
    _setting, 100.0, assumed_runs=3,
)  # fmt: skip
