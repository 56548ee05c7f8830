"""params.yaml: overrides, environment variables, and errors that are all named at once."""

import functools
import operator
from pathlib import Path
from typing import Any

import pytest
import yaml

from medtransfer.config import DEFAULTS, Params, default_params, load_params
from medtransfer.config.known_keys import FORMER
from medtransfer.config.load import DEFINED, USED
from medtransfer.errors import InputError
from medtransfer.working_folder import REGISTERED

PARAMS = Path(__file__).parents[1] / "params.yaml"


def message(overrides: dict[str, Any], *more: Path) -> str:
    """Return the message of the InputError."""
    with pytest.raises(InputError) as error:
        load_params([PARAMS, *more], overrides, REGISTERED)
    return str(error.value)


def written(tmp_path: Path, text: str, name: str = "more.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_projects_params_are_complete() -> None:
    params = load_params([PARAMS], {})
    assert params.model_dump(mode="json") == yaml.safe_load(PARAMS.read_text(encoding="utf-8"))


def test_the_projects_params_are_the_packaged_defaults() -> None:
    assert DEFAULTS.samefile(PARAMS) and default_params() == load_params([PARAMS], {})


def test_no_section_has_a_default_of_its_own() -> None:
    sections: list[Any] = [Params]
    while sections:
        for field in sections.pop().model_fields.values():
            assert field.is_required(), field
            if hasattr(field.annotation, "model_fields"):
                sections.append(field.annotation)


@pytest.mark.parametrize("key", ["report", "finetune.seed", "prepare.targets.sample.reader"])
def test_a_missing_key_is_named(key: str, tmp_path: Path) -> None:
    params = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    *parents, last = key.split(".")
    del functools.reduce(operator.getitem, parents, params)[last]
    path = written(tmp_path, yaml.safe_dump(params), "params.yaml")
    with pytest.raises(InputError, match=rf"1 error in {path}: {key}: is missing$"):
        load_params([path], {})


@pytest.mark.parametrize("key", ["foo", "finetune.foo", "prepare.targets.sample.foo", "pretrain.origins.simple.foo"])
def test_an_unknown_key_is_named(key: str) -> None:
    assert message({key: 1}) == f"1 error in the command line: {key}: is not a known key"


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("finetun", "finetune"),
        ("finetune.epochs", "epoch or epoch_steps or train_epochs"),
        ("prepare.targets.sample.sizes", "size"),
        ("prepare.new.sizes", "size"),
        ("pretrain.origins.simple.warmups", "warmup"),
        ("grid.resources.prepare.gpu", "gpus"),
    ],
)
def test_known_keys_that_are_like_an_unknown_one_are_named(key: str, meant: str) -> None:
    assert message({key: 1}) == f"1 error in the command line: {key}: is not a known key (did you mean {meant}?)"


@pytest.mark.parametrize("key", sorted(FORMER))
def test_a_key_of_an_earlier_version_is_said_to_be_one(key: str) -> None:
    """A project of an earlier `medtransfer init` has it in its params.yaml, so that no command would go on."""
    later = FORMER[key]
    said = f"is a key of an earlier version{f', replaced by {later}' if later else ''}; remove it"
    assert message({key: 1}) == f"1 error in the command line: {key}: {said}"
    if later:  # it is a key
        functools.reduce(operator.getitem, later.split("."), yaml.safe_load(PARAMS.read_text(encoding="utf-8")))


@pytest.mark.parametrize("key", ["about", "params", "parts"])
def test_a_section_of_a_study_file_is_said_to_be_one(key: str) -> None:
    """As where `--params` names a study file."""
    assert message({key: {}}) == (
        f"1 error in the command line: {key}: is a section of a study file; run it by `medtransfer study FILE`"
    )


@pytest.mark.parametrize("size", [0, -3, 1.5, 0.0, "0%", "120%", "many", True, "nan%", [20], 2**40])
def test_a_size_is_a_number_of_images_or_a_share(size: Any) -> None:
    said = message({"finetune.size": size})
    assert "finetune.size: must be a number of images from 1 on, a share of them such as 0.05 or 5%" in said


def test_all_errors_are_named_at_once() -> None:
    errors = message({
        "score.level": 0, "finetune.seed": -1, "finetune.foo": 3, "study.targets": ["sample", "nowhere"],
        "pretrain.checkpoints": [1, 99], "finetune.mode": "half", "prepare.targets.sample.size": [64, 64, 3],
    })  # fmt: skip
    assert errors.startswith("7 errors in the command line: ")
    for part in (
        "score.level: must be less than 0 (got 0)",
        "finetune.seed: must be at least 0 (got -1)",
        "finetune.foo: is not a known key",
        "pretrain: checkpoints [99] come after the last of 10 epochs",
        "finetune.mode names the mode 'half', known are decoder, full",
        "prepare.targets.sample.size: must be a number of pixels from 1 to 16,384, or a list of height and width such as "
        "[224, 192] (got [64, 64, 3])",
        "study.targets names the target 'nowhere', known are sample, sample-lungs, sample-retina",
    ):
        assert part in errors
    assert "\n" not in errors


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("study.epochs.0", -1, "must be at least 0"),
        ("prepare.targets.sample.split", "grouped", "must be 'official', 'auto' or 'none', or a mapping of keys to values"),
        ("study.epochs", 3, "must be 'all' or 'last', or a list such as [A, B]"),
    ],
)
def test_what_either_of_two_types_asks_is_one_error(key: str, value: Any, expected: str) -> None:
    """Where a list has a wrong entry, this entry."""
    section = key.removesuffix(".0")
    given = {section: [value]} if key.endswith(".0") else {key: value}
    assert message(given) == f"1 error in the command line: {key}: {expected} (got {value!r})"


@pytest.mark.parametrize("size", [64, [64], [64, 64]])
def test_a_single_number_is_both_sides_of_a_square(size: int | list[int]):
    params = load_params((DEFAULTS,), {"prepare.targets.sample.size": size, "rank.size": size})
    assert params.prepare.targets["sample"].size == params.rank.size == (64, 64)


def test_only_the_sources_of_errors_are_named(tmp_path: Path) -> None:
    first = written(tmp_path, "finetune: {seed: -1}\nscore: {level: 0}", "first.yaml")
    second = written(tmp_path, "finetune: {lr: 1}\nstudy: {seeds: [0, x]}", "second.yaml")
    assert message({"score.level": -1}, first, second).startswith(f"2 errors in {first} and {second}: ")
    assert message({"score.level": 1}, first).startswith(f"2 errors in {first} and the command line: ")
    third = written(tmp_path, "prepare: {targets: {mine: {reader: folder}}}", "third.yaml")
    assert message({"report.seed": 1}, third).startswith(f"7 errors in {third}: ")  # keys that are missing there
    assert message({"finetune.seed": 1, "score.level": -1, "pretrain.epochs": 2}, first).startswith("1 error in the command line: ")


def test_a_recipe_that_cannot_be_followed_is_refused() -> None:
    text = message({"finetune.warmup": 15})
    assert "finetune: the warm-up of 15 epochs must be shorter than the training of 15; lower warmup (--warmup), or raise" in text
    assert "finetune: class_weights must not all be 0" in message({"finetune.class_weights": [0, 0]})
    assert "finetune.augmentation.0" in message({"finetune.augmentation": [{"HorizontalFlip": {}, "VerticalFlip": {}}]})
    assert "finetune.augmentation" in message({"finetune.augmentation": "rotate-flip"})
    endless = message({"finetune.augmentation": [{"Rotate": {"limit": float("inf")}}]})
    assert "finetune.augmentation.0.Rotate: must hold plain values and finite numbers" in endless


def test_mixing_probabilities_sum_to_at_most_one() -> None:
    errors = message({"pretrain.origins.simple.cutmix": 0.6, "pretrain.origins.simple.mixup": 0.6})
    assert "pretrain.origins.simple: cutmix + mixup must not exceed 1" in errors


@pytest.mark.parametrize(("kind", "user"), [(kind, user) for kind, users in USED.items() for user in users])
def test_an_undefined_name_is_refused_wherever_it_is_used(kind: str, user: str) -> None:
    value = ["nowhere"] if user.split(".")[1].endswith("s") else "nowhere"
    known = REGISTERED.get(kind) or operator.attrgetter(DEFINED[kind])(load_params([PARAMS], {}))
    expected = f": {user} names the {kind.removesuffix('s')} 'nowhere', known are {', '.join(sorted(known))}"
    remedy = "; to make it of a folder: `medtransfer prepare --root FOLDER --target nowhere`" if kind == "target" else ""
    assert message({user: value}).endswith(expected + remedy)


def test_what_is_no_name_at_all_is_named_once() -> None:
    named = "must be of letters, digits, dots, hyphens and underscores, the first a letter or a digit"
    assert message({"finetune.target": "my lesions"}) == f"1 error in the command line: finetune.target: {named} (got 'my lesions')"
    several = message({"study.targets": ["my lesions", "sampel"]})
    assert several.startswith("2 errors in the command line: ") and f": {named} (got 'my lesions')" in several
    assert "study.targets names the target 'sampel' (did you mean sample?), known are" in several


def test_a_name_that_is_a_number_keeps_no_mistake_from_being_named() -> None:
    text = message({"pretrain.encoders": {7: {"build": "unet"}}, "finetune.encoder": "unett"})
    assert "pretrain.encoders.7: must be a text (got 7)" in text
    assert "names the encoder 'unett' (did you mean unet?), known are" in text


def test_a_file_that_defines_an_unknown_name_is_pointed_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.yaml").write_text("prepare: [")
    Path("my images.yaml").write_text("prepare: {targets: {mine: {reader: nifti}}}")
    errors = message({"finetune.target": "mine", "finetune.encoder": "mine"})
    assert "the target 'mine', known are sample, sample-lungs, sample-retina; my images.yaml defines it" in errors
    assert "add --params 'my images.yaml'" in errors and errors.count("defines it") == 1


def test_every_key_that_uses_a_name_is_checked() -> None:
    """A new section with a field `encoder`, `origin` or `target` must be added to USED."""
    fields = {
        f"{section}.{name}"
        for section, field in Params.model_fields.items() for name in field.annotation.model_fields  # type: ignore[union-attr]
        if name.rstrip("s") in USED and f"{section}.{name}" not in DEFINED.values()
    }  # fmt: skip
    assert fields | {"pretrain.stop_on", "pretrain.stop_by", "rank.by"} == {user for users in USED.values() for user in users}


def test_a_further_file_changes_only_its_keys(tmp_path: Path) -> None:
    more = written(tmp_path, "finetune: {lr: 0.5}\npretrain: {encoders: {unet: {width: 12}}}\n")
    before, after = load_params([PARAMS], {}), load_params([PARAMS, more], {})
    assert after.finetune.lr == 0.5
    assert after.finetune.model_copy(update={"lr": before.finetune.lr}) == before.finetune
    assert after.pretrain.encoders["unet"].arguments == {**before.pretrain.encoders["unet"].arguments, "width": 12}
    assert after.pretrain.encoders["swin"] == before.pretrain.encoders["swin"]


def test_an_encoder_of_another_build_is_replaced(tmp_path: Path) -> None:
    more = written(tmp_path, "pretrain: {encoders: {unet: {build: swin, embed: 24}}}\n")
    spec = load_params([PARAMS, more], {}).pretrain.encoders["unet"]
    assert (spec.build, spec.arguments) == ("swin", {"embed": 24})


@pytest.mark.parametrize("section", DEFINED.values())
def test_names_with_a_dot_are_refused_where_they_are_defined(section: str) -> None:
    known = operator.attrgetter(section)(load_params([PARAMS], {}))
    entry = next(iter(known.values())).model_dump(mode="json")
    text = message({section: {"v1.5": entry}})
    assert f"{section}.v1.5: must have no dot, which separates the levels of a key; write - or _ instead" in text


def test_lists_options_and_splits_are_replaced(tmp_path: Path) -> None:
    sections = "prepare: {{targets: {{sample: {{options: {}, split: {}}}}}}}\nstudy: {{seeds: {}}}\n"
    base = written(tmp_path, sections.format("{a: 1, b: 2}", "{test: 0.2, seed: 0}", [1, 2]), "base.yaml")
    more = written(tmp_path, sections.format("{b: 3}", "{file: s.csv}", [7]))
    params = load_params([PARAMS, base, more], {})
    sample = params.prepare.targets["sample"]
    assert (sample.options, sample.split, params.study.seeds) == ({"b": 3}, {"file": "s.csv"}, [7])


def test_values_override_files_and_later_files_earlier_ones(tmp_path: Path) -> None:
    first, second = written(tmp_path, "finetune: {seed: 1, lr: 0.1}", "1.yaml"), written(tmp_path, "finetune: {seed: 2}", "2.yaml")
    params = load_params([PARAMS, first, second], {})
    assert (params.finetune.seed, params.finetune.lr) == (2, 0.1)
    assert load_params([PARAMS, first, second], {"finetune.seed": 3}).finetune.seed == 3


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
def test_environment_variables_may_hold_any_characters(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_DATA", folder)
    more = written(tmp_path, "pretrain:\n  source_root: ${MY_DATA}/photographs\nstudy:\n  targets: ['${WHO}']\n")
    monkeypatch.setenv("WHO", "sample")
    params = load_params([PARAMS, more], {})
    assert params.pretrain.source_root == f"{folder}/photographs"
    assert params.study.targets == ["sample"]


def test_unset_variables_in_comments_are_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_DATA", raising=False)
    load_params([PARAMS, written(tmp_path, "finetune: {seed: 1}  # set ${MY_DATA} first")], {})


def test_an_unset_variable_is_named_with_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_DATA", raising=False)
    more = written(tmp_path, "pretrain:\n  source_root: ${MY_DATA}/photographs\n")
    assert message({}, more) == f"expected the environment variable MY_DATA, which {more} names, but it is not set; set it"


def test_a_missing_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=rf"expected the parameter file {tmp_path / 'none.yaml'}, .*; correct its name, make it, or"
    ):
        load_params([tmp_path / "none.yaml"], {})
    assert "expected YAML in" in message({}, tmp_path)  # a folder


@pytest.mark.parametrize("path", sorted((PARAMS.parent / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_config_of_the_project_is_valid(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {word.split("}")[0] for word in path.read_text(encoding="utf-8").split("${")[1:]}:
        monkeypatch.setenv(name, "/somewhere")
    load_params([PARAMS, path], {})


def test_pretraining_seeds_add_an_origin_each() -> None:
    params = load_params([PARAMS], {"study.pretraining_seeds": [1, 2], "score.origin": "advanced-s2"}, REGISTERED)
    origins = params.pretrain.origins
    names = [
        "simple", "advanced", "continued", "segmentation", "classification", "simclr", "reconstruction", "conrec", "masked",
    ]  # fmt: skip
    assert list(origins) == [*names, *(f"{name}-s{seed}" for name in names for seed in (1, 2))]
    assert dict(origins["advanced-s2"]) == {**dict(origins["advanced"]), "seed": 2}
    assert "names the origin 'simple-s3' (did you mean simple-s1 or simple or " in message(
        {"study.pretraining_seeds": [1], "score.origin": "simple-s3"}
    )


def test_mistakes_are_named_once_whatever_the_number_of_seeds() -> None:
    seeds = {"study.pretraining_seeds": [1, 2]}
    assert message({**seeds, "pretrain.origins.simple.cutmix": 2}).startswith("1 error in")
    assert message({"study.pretraining_seeds": [1, "x"]}).startswith("1 error in")
    taken = {"pretrain.origins.simple-s2": {**yaml.safe_load(PARAMS.read_text())["pretrain"]["origins"]["simple"], "seed": 3}}
    assert "makes the origin 'simple-s2', but pretrain.origins defines it with other settings" in message({**seeds, **taken})


def test_the_channels_of_an_encoder_follow_from_the_target() -> None:
    text = message({"pretrain.encoders.four": {"build": "unet", "in_channels": 4}})
    assert "no argument in_channels: encoders are pretrained on three channels" in text
