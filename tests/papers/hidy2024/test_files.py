"""The released files are read as they are written; what is not of their form is refused in one sentence."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medtransfer.errors import InputError
from medtransfer.papers.hidy2024.files import read_downstream, read_robustness

DOWNSTREAM, ROBUSTNESS = (read_downstream, 0), (read_robustness, 1)
Reader = tuple[Callable[[Path], pd.DataFrame], int]


def test_a_line_of_fine_tuning_is_a_row(released_files: tuple[Path, Path]) -> None:
    raw, table = pd.read_csv(released_files[0]), read_downstream(released_files[0])
    assert len(table) == len(raw) == 3 * 3 * 2 * 5 * 19  # encoders, targets, modes, seeds, lengths of both schemes
    assert list(table["line"]) == list(range(2, len(raw) + 2))
    assert set(table["encoder"]) == {"unet", "resnet50", "swin"}
    assert set(table["target"]) == {"acdc", "covid-qu", "idrid"}
    assert set(table["scheme"]) == {"simple", "advanced"}
    assert set(table.loc[raw["freeze encoder"], "mode"]) == {"decoder"}
    assert list(table["epoch"]) == list(raw["pretraining length"])
    assert list(table["hd95"]) == list(raw["modified hausdorff distance"])
    assert list(table["source_accuracy"]) == list(raw["ImageNet accuracy"])


def test_dice_is_the_mean_over_classes_where_there_are_several(released_files: tuple[Path, Path]) -> None:
    raw, table = pd.read_csv(released_files[0]), read_downstream(released_files[0])
    for name in ("dice", "jaccard"):
        expected = np.where(raw["dataset"] == "ACDC", raw[f"mean {name} index"], raw[f"{name} index"])
        assert list(table[name]) == list(expected)
    assert table.loc[table["target"] == "acdc", "sensitivity"].isna().all()


def test_a_line_of_scores_is_a_row(released_files: tuple[Path, Path]) -> None:
    raw, table = pd.read_csv(released_files[1]), read_robustness(released_files[1])
    assert len(table) == len(raw) == (5 + 5 + 4) * 2 * 3 * 2 * 3 * 5 * 10 == 25_200
    assert list(table["loss"]) == list(raw["robustness"])
    assert list(table["robustness"]) == list(1 - raw["robustness"])
    assert set(table["distance"]) == {"cosine", "pearson", "l2"}
    assert table["pooled"].tolist() == raw["pooled"].tolist()
    assert table["line"].iloc[-1] == 25_201


def test_levels_count_from_the_last_of_the_encoder(released_files: tuple[Path, Path]) -> None:
    raw, table = pd.read_csv(released_files[1]), read_robustness(released_files[1])
    for encoder, levels in (("unet", 5), ("resnet50", 5), ("swin", 4)):
        rows = table["encoder"] == encoder
        assert set(table.loc[rows, "level"]) == set(range(-levels, 0))
        assert list(table.loc[rows, "level"]) == list(raw.loc[rows, "level"] - levels - 1)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()[:40]


REFUSED: dict[str, tuple[Reader, Callable[[list[str]], str], str]] = {
    "empty": (DOWNSTREAM, lambda text: "", "it is empty"),
    "a header alone": (ROBUSTNESS, lambda text: text[0], "none"),
    "no CSV": (DOWNSTREAM, lambda text: "{'dice': 1}", "column"),
    "a column lacks": (DOWNSTREAM, lambda text: "\n".join(text).replace("dice index", "Dice"), "dice index"),
    "an unknown encoder": (DOWNSTREAM, lambda text: "\n".join(text).replace("basic U-Net", "V-Net"), "V-Net"),
    "an unknown distance": (ROBUSTNESS, lambda text: "\n".join(text).replace("cosine_distance", "cos"), "'cos'"),
    "an unknown dataset": (ROBUSTNESS, lambda text: "\n".join(text).replace("ACDC", "LIDC"), "LIDC"),
    "a text for a number": (ROBUSTNESS, lambda text: "\n".join([*text, text[-1].rsplit(",", 1)[0] + ",high"]), "line 41"),
    "a broken length": (ROBUSTNESS, lambda text: "\n".join([*text, text[-1].replace(",1,", ",1.5,")]), "line 41"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_file_of_another_form_is_refused_in_one_sentence(fault: str, released_files: tuple[Path, Path], tmp_path: Path) -> None:
    (read, which), spoil, named = REFUSED[fault]
    path = tmp_path / "scores.csv"
    path.write_text(spoil(lines(released_files[which])))
    with pytest.raises(InputError) as refusal:
        read(path)
    message = str(refusal.value)
    assert named in message and str(path) in message and "expected" in message
    assert "\n" not in message and "fetch the file again" in message


@pytest.mark.parametrize(("read", "which"), [DOWNSTREAM, ROBUSTNESS])
def test_a_missing_file_and_other_bytes_are_refused(read: Callable[[Path], pd.DataFrame], which: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a table in .*none.csv, but there is none"):
        read(tmp_path / "none.csv")
    path = tmp_path / "latin.csv"
    path.write_bytes("modèle,dataset\n".encode("latin-1"))
    with pytest.raises(InputError, match="latin.csv"):
        read(path)


@pytest.mark.parametrize(("read", "which"), [DOWNSTREAM, ROBUSTNESS])
def test_swapped_files_are_reported(read: Callable[[Path], pd.DataFrame], which: int, released_files: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match="swapped"):
        read(released_files[1 - which])


def test_the_released_files_have_their_known_sizes(published: tuple[Path, Path]) -> None:
    downstream, robustness = read_downstream(published[0]), read_robustness(published[1])
    assert (len(downstream), len(robustness)) == (1691, 25_200)
    assert downstream["dice"].notna().all() and downstream.groupby("target").size().to_dict() == {
        "acdc": 571, "covid-qu": 570, "idrid": 550,
    }  # fmt: skip
    assert robustness.groupby("encoder")["level"].min().to_dict() == {"resnet50": -5, "swin": -4, "unet": -5}
