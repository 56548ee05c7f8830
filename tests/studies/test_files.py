"""Study files: every packaged one is valid and has the paper's cells, and all errors of one's own are named at once."""

from pathlib import Path

import pytest
import yaml

from medtransfer import study
from medtransfer.config.study_files import StudyFile, study_names
from medtransfer.errors import InputError
from medtransfer.papers.printed.tables import read_printed
from medtransfer.records import CellName
from medtransfer.studies.printed import tables_of
from medtransfer.working_folder import load_study

ROOT = Path(__file__).parents[2]
WHOLE = ["dippel", "hidy", "hosseinzadeh-taher", "truong"]


def cells_of(chosen: StudyFile) -> list[CellName]:
    return [cell for part in chosen.parts for cell in study.study_cells(part.params, {})]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(**sections: object) -> str:
    Path("mine.yaml").write_text(yaml.safe_dump({"about": {"what": "Does it help?"}, **sections}))
    return "mine.yaml"


def message(**sections: object) -> str:
    with pytest.raises(InputError) as caught:
        load_study(write(**sections))
    return str(caught.value)


def test_the_whole_studies_have_small_ones() -> None:
    assert {path.stem for path in (ROOT / "studies").iterdir()} == set(study_names())
    assert {*WHOLE, *(f"{name}-small" for name in WHOLE)} <= set(study_names())


@pytest.mark.parametrize("name", study_names())
def test_every_study_is_valid_and_writes_to_a_folder_of_its_own(name: str) -> None:
    chosen = load_study(name)
    cells = cells_of(chosen)
    assert cells and len(set(cells)) == len(cells)
    for part in chosen.parts:
        outs = [getattr(part.params, stage).out for stage in ("prepare", "pretrain", "score", "finetune", "grid", "report")]
        assert all(out.startswith(f"results/{name}/") for out in outs)
        assert set(part.params.study.encoders) <= part.about.parameters.keys()
        assert set(part.params.study.targets) <= part.about.images.keys()


def test_the_study_of_hidy_has_the_fine_tunings_of_the_paper() -> None:
    """3 encoders x 2 schemes x 3 targets x 2 modes x 10 lengths x 5 seeds; the paper's 1,710 share the random initialisation."""
    cells = cells_of(load_study("hidy"))
    assert len(cells) == 1800
    shared = [cell for cell in cells if not (cell.epoch == 0 and cell.origin == "advanced")]
    assert len(shared) == 1710
    assert sorted({cell.epoch for cell in cells}) == [0, 1, 5, 20, 50, 100, 150, 200, 250, 300]


def test_the_study_of_hosseinzadeh_taher_has_a_cell_for_every_printed_mean() -> None:
    """The paper's rows and columns, ten runs each: 17 initialisations on 7 tasks, one more on 3, and 4 on 4 tasks."""
    chosen = load_study("hosseinzadeh-taher")
    columns = {"DXC14": "chestxray14-lists", "DXC5": "chexpert", "TXC": "shenzhen", "ECC": "rsna-pe", "PXS": "siim",
               "LXS": "montgomery", "VFS": "drive"}  # fmt: skip
    printed = {
        (cell.row.replace(">", "-").replace("chestx-ray14", "chestxray14"), columns[cell.column])
        for cell in read_printed("hosseinzadeh-taher") if cell.column in columns and cell.row != "state-of-the-art"
    }  # fmt: skip
    cells = cells_of(chosen)
    ours = [(cell.origin if cell.epoch else "random", cell.target) for cell in cells]
    assert len(cells) == 10 * (17 * 7 + 3 + 4 * 4) == 1380
    assert set(ours) == printed and {ours.count(key) for key in printed} == {10}


def test_the_study_of_truong_has_the_cells_of_its_tables() -> None:
    """5 features x 4 targets x 3 sizes x 2 modes, and DVME with and without attention, 5 folds each."""
    cells = cells_of(load_study("truong"))
    assert len(cells) == 5 * (5 * 4 * 3 * 2 + 2 * 4 * 3) == 720
    assert len([cell for cell in cells if cell.mode == "fused"]) == 120


@pytest.mark.parametrize(
    ("name", "arguments", "mean"),
    [
        ("hosseinzadeh-taher", ("siim", "resnet50", "supervised", 1, "full", None), 0.6793),
        ("hosseinzadeh-taher", ("siim", "resnet50", "supervised", 0, "full", None), 0.6754),
        ("hosseinzadeh-taher", ("drive", "resnet50", "inat2021-mini", 1, "full", None), None),
        ("hidy", ("acdc", "unet", "", 0, "decoder", None), 0.895),
        ("truong", ("patchcamelyon", "resnet50", "supervised", 1, "linear", 500), 0.7517),
        ("truong", ("patchcamelyon", "resnet50", "supervised", 0, "full", 50000), 0.8515),
        ("dippel", ("flowers17", "dippel-unet", "simclr-flowers102", 0, "full", 8), 0.791),
        ("dippel", ("voc-aeroplane", "dippel-unet", "classification-cars", 900, "full", None), 0.683),
        ("dippel", ("voc-cat", "dippel-unet", "segmentation-dogs", 300, "seg-enc-dec", None), 0.832),
    ],
)  # fmt: skip
def test_printed_numbers_are_found(name: str, arguments: tuple, mean: float | None) -> None:
    """Tables 2 and 3 of arXiv:2108.05930, 1 of arXiv:2410.18677, 2 and 3 of arXiv:2108.10048."""
    chosen = load_study(name)
    tables = tables_of(chosen)
    part = next(
        part.name for part in chosen.parts
        if arguments[0] in part.params.study.targets and arguments[-1] in part.params.study.sizes
    )  # fmt: skip
    number = tables[part].find(*arguments)
    assert number is not None and (mean is None or number.mean == pytest.approx(mean))


def test_the_study_of_dippel_has_three_runs_of_every_printed_mean() -> None:
    """Tables 2, 4 and 5, of 36, 18 and 8 means."""
    chosen = load_study("dippel")
    tables, found = tables_of(chosen), []
    for part in chosen.parts:
        for cell in study.study_cells(part.params, {}):
            number = tables[part.name].find(cell.target, cell.encoder, cell.origin, cell.epoch, cell.mode, cell.size)
            assert number is not None and number.n == 3
            found.append((number.table, number.mean, cell.target, cell.origin, bool(cell.epoch), cell.mode, cell.size))
    assert len(found) == 3 * len(set(found)) == 186
    assert [len({one for one in found if one[0] == table}) for table in ("table2", "table4", "table5")] == [36, 18, 8]


@pytest.mark.parametrize("name", ["hosseinzadeh-taher", "truong"])
def test_almost_every_initialisation_of_a_whole_study_has_a_printed_number(name: str) -> None:
    """Of the fusions without attention few sizes are printed."""
    chosen = load_study(name)
    tables = tables_of(chosen)
    lacking = {
        (cell.target, cell.origin, cell.mode, cell.size)
        for part in chosen.parts for cell in study.study_cells(part.params, {})
        if tables[part.name].find(cell.target, cell.encoder, cell.origin, cell.epoch, cell.mode, cell.size) is None
    }  # fmt: skip
    assert lacking == set(), lacking


def test_the_numbers_of_weights_are_those_of_the_encoders() -> None:
    import torch

    from medtransfer.encoders.build import build_encoder
    from medtransfer.tasks import TASKS

    counted = {}
    for chosen in map(load_study, study_names()):
        for part in chosen.parts:
            for encoder in part.params.study.encoders:
                spec = part.params.pretrain.encoders[encoder]
                if spec.build == "fused":
                    continue
                key = (str(spec), part.params.finetune.decoder)
                if key not in counted:
                    with torch.device("meta"):
                        built = build_encoder(spec.build, **spec.arguments)
                        weights = sum(weight.numel() for weight in built.parameters())
                        whole = TASKS["segmentation"].model(built, 1, part.params.finetune.decoder)
                        counted[key] = weights, sum(weight.numel() for weight in whole.parameters())
                assert part.about.parameters[encoder] == counted[key][0], (chosen.name, encoder)
                assert part.about.models.get(encoder, counted[key][1]) == counted[key][1], (chosen.name, encoder)


def test_a_fusion_has_the_weights_of_its_sources() -> None:
    for name, sources in (("truong", ("resnet50", "resnet50", "vits8")), ("truong-small", ("resnet50",) * 3)):
        parameters = load_study(name).about.parameters
        assert parameters["dvme"] == sum(parameters[source] for source in sources)


def test_a_file_of_ones_own_is_laid_over_the_params() -> None:
    chosen = load_study(write(study={"seeds": [5]}, finetune={"lr": 0.5}), overrides={"finetune.train_epochs": 3})
    (part,) = chosen.parts
    assert (chosen.name, part.name, part.params.study.seeds) == ("mine.yaml", "", [5])
    assert (part.params.finetune.lr, part.params.finetune.train_epochs, part.params.finetune.batch_size) == (0.5, 3, 8)


def test_parts_are_every_combination_of_the_axes() -> None:
    axes = [{"a": {"study": {"targets": ["sample"]}}, "b": {"params": ["strong"], "study": {"targets": ["sample-lungs"]}}},
            {"x": {"finetune": {"out": "x"}}, "y": {"finetune": {"out": "y"}, "about": {"images": {"sample": 4}}}}]  # fmt: skip
    name = write(parts=axes)
    parts = {part.name: part for part in load_study(name).parts}
    assert list(parts) == ["a-x", "a-y", "b-x", "b-y"]
    assert parts["b-y"].params.study.targets == ["sample-lungs"] and parts["b-y"].params.finetune.out == "y"
    assert (parts["a-x"].params.finetune.optimiser, parts["b-x"].params.finetune.optimiser) == ("sgd", "adamw")
    assert (parts["a-x"].about.images, parts["a-y"].about.images) == ({}, {"sample": 4})
    assert [part.name for part in load_study(f"{name}/b-x").parts] == ["b-x"]


def test_all_errors_of_a_file_are_named_at_once() -> None:
    text = message(
        about={"what": "", "image": {}}, study={"targets": ["nowhere"]}, finetune={"lr": -1},
        parts=[{"a": {"finetune": {"out": "a"}}, "b": {"study": {"modes": ["none"]}, "params": ["absent"]}}],
    )  # fmt: skip
    assert text.startswith("6 errors in mine.yaml: ")
    for said in (
        "about.what: must be of 1 or more characters", "about.image: is not a known key (did you mean images?)",
        "finetune.lr: must be greater than 0 (got -1)", "study.targets names the target 'nowhere', known are",
        "study.modes names the mode 'none'", "absent, but it does not exist",
    ):  # fmt: skip
        assert text.count(said) == 1, (said, text)
    assert text.count("(in b)") == 2


def test_an_error_of_a_further_file_is_said_to_be_there() -> None:
    Path("more.yaml").write_text("finetune: {lr: -1}")
    with pytest.raises(InputError) as caught:
        load_study("truong", [Path("more.yaml")], {"study.seeds": ["x"]})
    text = str(caught.value)
    assert text.startswith("2 errors in more.yaml and the command line: ") or text.startswith(
        "2 errors in the command line and more"
    )


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"parts": {"a": {}}}, "parts: must be a list of mappings of names to params"),
        ({"parts": [{"a": 3}]}, "parts: must have names without / and mappings of params, but a has not"),
        ({"params": "strong"}, "params: must be a list of presets and files, such as [labelled]"),
        ({"about": None}, "about.what: is missing"),
        (
            {"parts": [{"a": {"finetune": {"lr": 0.1}}, "b": {}}]},
            "the parts a and b have cells of the same names; give one another",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said(sections: dict, said: str) -> None:
    assert said in message(**sections)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing", "expected the name of a study (dippel, dippel-small, .*) or its file, but got 'nothing'; correct it, or see"),
        ("truong/pneumonia", "expected a part of the study truong (patchcam-resnet50, .*), but got 'pneumonia'; correct it"),
        ("hidy/all", r"expected a part of the study hidy (it has none), but got 'all'; correct it"),
    ],
)
def test_an_unknown_study_or_part_is_named(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said.replace("(", r"\(").replace(")", r"\)")):
        load_study(name)
