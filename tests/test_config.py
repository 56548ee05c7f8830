"""params.yaml: what is accepted, laid over and overridden, and that every fault is named at once."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from medtransfer.config import DEFINED, USED, Params, load_params
from medtransfer.errors import InputError

PARAMS = Path(__file__).parents[1] / "params.yaml"


def message(overrides: dict[str, Any], *more: Path) -> str:
    """Give the sentence of a refusal."""
    with pytest.raises(InputError) as fault:
        load_params([PARAMS, *more], overrides)
    return str(fault.value)


def written(tmp_path: Path, text: str, name: str = "more.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def leaves(value: Any, place: str = "") -> list[str]:
    """List the dotted keys of sections, down to what the user fills in freely."""
    free = {"pretrain.encoders", "pretrain.origins", "prepare.targets"}
    if not isinstance(value, dict) or place in free:
        return [place]
    return [leaf for key, one in value.items() for leaf in leaves(one, f"{place}.{key}".lstrip("."))]


def test_the_projects_params_are_valid_and_say_every_value() -> None:
    params = load_params([PARAMS], {})
    written_there = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    assert params.model_dump(mode="json") == written_there


def test_sections_are_frozen() -> None:
    params = load_params([PARAMS], {})
    with pytest.raises(ValidationError):
        params.finetune.seed = 3  # type: ignore[misc]


def test_no_section_has_a_default_of_its_own() -> None:
    sections: list[Any] = [Params]
    while sections:
        for field in sections.pop().model_fields.values():
            assert field.is_required(), field
            if hasattr(field.annotation, "model_fields"):
                sections.append(field.annotation)


@pytest.mark.parametrize("key", leaves(yaml.safe_load(PARAMS.read_text(encoding="utf-8"))))
def test_a_missing_key_is_named(key: str, tmp_path: Path) -> None:
    value = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    *way, last = key.split(".")
    inner = value
    for name in way:
        inner = inner[name]
    del inner[last]
    path = written(tmp_path, yaml.safe_dump(value), "params.yaml")
    with pytest.raises(InputError, match=rf"1 fault\(s\) in {path}: {key}: is missing$"):
        load_params([path], {})


@pytest.mark.parametrize("key", ["foo", "finetune.foo", "prepare.targets.sample.foo", "pretrain.origins.simple.foo"])
def test_an_unknown_key_is_named(key: str) -> None:
    assert message({key: 1}) == f"1 fault(s) in {PARAMS} and the command line: {key}: is not a known key"


def test_all_faults_are_told_at_once() -> None:
    said = message(
        {
            "score.level": 0,
            "finetune.seed": -1,
            "finetune.foo": 3,
            "study.targets": ["sample", "nowhere"],
            "pretrain.checkpoints": [1, 99],
            "finetune.mode": "half",
            "prepare.targets.sample.size": [64],
        }
    )
    assert said.startswith("7 fault(s) in ")
    for part in (
        "score.level: Input should be less than 0 (got 0)",
        "finetune.seed: Input should be greater than or equal to 0 (got -1)",
        "finetune.foo: is not a known key",
        "pretrain: checkpoints [99] come after the last of 10 epochs",
        "finetune.mode: Input should be 'full' or 'decoder' (got 'half')",
        "prepare.targets.sample.size.1: is missing",
        "study.targets names the target 'nowhere', known are sample, sample-lungs, sample-retina",
    ):
        assert part in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("finetune.lr", 0), ("finetune.lr", float("inf")), ("finetune.lr", float("nan")), ("finetune.lr", "fast"),
        ("finetune.momentum", 1), ("finetune.batch_size", 0), ("finetune.batch_size", 2.5), ("finetune.workers", -1),
        ("finetune.epoch_steps", 0), ("finetune.select", "best"), ("finetune.precision", "16"), ("finetune.target", 3),
        ("finetune.target", "../x"), ("finetune.target", ""), ("score.max_images", 1), ("score.margin", -0.1),
        ("score.margins", 0.5), ("score.negative", "hard"), ("pretrain.betas", [0.9, 1]), ("pretrain.label_smoothing", 1),
        ("pretrain.origins.simple.cutmix", 1.1), ("pretrain.origins.simple.batch_size", 0), ("pretrain.accelerator", "tpu"),
        ("prepare.targets.sample.subset", "perhaps"),
        ("prepare.targets.sample.validation", 1), ("prepare.targets.sample.split", "half"),
        ("prepare.targets.sample.size", [0, 64]), ("samples.patients", 0), ("study", None), ("study.seeds", [-1]),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_its_place(key: str, value: Any) -> None:
    said = message({key: value})
    assert f"{key}" in said and "(got " in said


def test_mixing_probabilities_leave_room() -> None:
    said = message({"pretrain.origins.simple.cutmix": 0.6, "pretrain.origins.simple.mixup": 0.6})
    assert "pretrain.origins.simple: cutmix + mixup must not exceed 1" in said


@pytest.mark.parametrize(("kind", "user"), [(kind, user) for kind, users in USED.items() for user in users])
def test_every_place_that_names_something_is_checked(kind: str, user: str) -> None:
    value = ["nowhere"] if user.startswith("study.") else "nowhere"
    known = DEFINED[kind].rsplit(".", 1)[1]
    section = DEFINED[kind].split(".")[0]
    names = ", ".join(sorted(getattr(getattr(load_params([PARAMS], {}), section), known)))
    assert message({user: value}).endswith(f": {user} names the {kind} 'nowhere', known are {names}")


def test_every_field_that_names_something_is_among_those_places() -> None:
    """A new section with a field `encoder`, `origin` or `target` must not slip by."""
    fields = {
        f"{section}.{name}"
        for section, field in Params.model_fields.items() for name in field.annotation.model_fields  # type: ignore[union-attr]
        if name.rstrip("s") in DEFINED and f"{section}.{name}" not in DEFINED.values()
    }  # fmt: skip
    assert fields | {"pretrain.stop_on"} == {user for users in USED.values() for user in users}


def test_no_stopping_target_names_nothing() -> None:
    assert load_params([PARAMS], {"pretrain.stop_on": None}).pretrain.stop_on is None
    assert load_params([PARAMS], {"pretrain.stop_on": "sample"}).pretrain.stop_on == "sample"


def test_a_further_file_changes_only_what_it_says(tmp_path: Path) -> None:
    more = written(tmp_path, "finetune: {lr: 0.5}\npretrain: {encoders: {unet: {width: 12}}}\n")
    before, after = load_params([PARAMS], {}), load_params([PARAMS, more], {})
    assert after.finetune.lr == 0.5
    assert after.finetune.model_copy(update={"lr": before.finetune.lr}) == before.finetune
    assert after.pretrain.encoders["unet"] == {"width": 12, "depth": before.pretrain.encoders["unet"]["depth"]}
    assert after.pretrain.encoders["swin"] == before.pretrain.encoders["swin"]


def test_lists_are_replaced_and_so_are_options_and_splits(tmp_path: Path) -> None:
    base = written(
        tmp_path,
        "prepare: {targets: {sample: {options: {a: 1, b: 2}, split: {test: 0.2, seed: 0}}}}\nstudy: {seeds: [1, 2]}\n",
        "base.yaml",
    )
    more = written(tmp_path, "prepare: {targets: {sample: {options: {b: 3}, split: {file: s.csv}}}}\nstudy: {seeds: [7]}\n")
    params = load_params([PARAMS, base, more], {})
    assert params.prepare.targets["sample"].options == {"b": 3}
    assert params.prepare.targets["sample"].split == {"file": "s.csv"}
    assert params.study.seeds == [7]


def test_single_values_win_over_all_files_and_later_files_over_earlier_ones(tmp_path: Path) -> None:
    one, two = written(tmp_path, "finetune: {seed: 1, lr: 0.1}", "1.yaml"), written(tmp_path, "finetune: {seed: 2}", "2.yaml")
    params = load_params([PARAMS, one, two], {})
    assert (params.finetune.seed, params.finetune.lr) == (2, 0.1)
    assert load_params([PARAMS, one, two], {"finetune.seed": 3}).finetune.seed == 3


def test_a_further_file_may_add_targets(tmp_path: Path) -> None:
    more = written(
        tmp_path,
        "prepare: {targets: {mine: {reader: folder, root: x, size: [8, 8], subset: false, split: official, validation: 0,"
        " allow_duplicates: false, options: {}}}}\nscore: {target: mine}\n",
    )
    assert load_params([PARAMS, more], {}).score.target == "mine"


def test_numbers_without_a_point_are_numbers() -> None:
    assert load_params([PARAMS], {"finetune.lr": "1e-3"}).finetune.lr == 0.001  # YAML 1.1 reads 1e-3 as text


@pytest.mark.parametrize("folder", ["/images", "/with: colon", "/with #hash", "/{braces}", "/quote\"'"])
def test_environment_variables_are_put_in_whatever_they_hold(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setenv("MY_DATA", folder)
    more = written(tmp_path, "pretrain:\n  source_root: ${MY_DATA}/photographs\nstudy:\n  targets: ['${WHO}']\n")
    monkeypatch.setenv("WHO", "sample")
    params = load_params([PARAMS, more], {})
    assert params.pretrain.source_root == f"{folder}/photographs"
    assert params.study.targets == ["sample"]


def test_a_comment_may_name_a_variable_that_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_DATA", raising=False)
    load_params([PARAMS, written(tmp_path, "finetune: {seed: 1}  # set ${MY_DATA} first")], {})


def test_a_variable_that_is_not_set_is_named_with_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_DATA", raising=False)
    more = written(tmp_path, "pretrain:\n  source_root: ${MY_DATA}/photographs\n")
    said = message({}, more)
    assert said == f"expected the environment variable MY_DATA, which {more} names, but it is not set; set it"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"finetune: [1, 2", "expected YAML in "),
        (b"finetune: {seed: 1", "expected YAML in "),
        (b"\xff\xfe\x00", "expected YAML in "),
        (b"finetune: {seed: 2024-99-99}", "expected YAML in "),
        (b"a: !!python/object/apply:os.mkdir [x]", "expected YAML in "),
        (b"- 1\n- 2\n", "but got list"),
        (b"", "but got NoneType"),
        (b"text", "but got str"),
    ],
)
def test_a_broken_file_is_named_in_one_line(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    sentence = message({}, path)
    assert said in sentence and str(path) in sentence and "\n" not in sentence


def test_a_missing_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"expected the parameter file {tmp_path / 'none.yaml'}, .*; run from the project"):
        load_params([tmp_path / "none.yaml"], {})
    assert "expected YAML in" in message({}, tmp_path)  # a folder


@pytest.mark.parametrize("path", sorted((PARAMS.parent / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_config_of_the_project_fits(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {word.split("}")[0] for word in path.read_text(encoding="utf-8").split("${")[1:]}:
        monkeypatch.setenv(name, "/somewhere")
    load_params([PARAMS, path], {})
