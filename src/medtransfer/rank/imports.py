"""How a candidate that is no checkpoint of ours becomes one, which fine-tuning and races take."""

import shlex

from medtransfer.config.loaded_files import repeated_options
from medtransfer.pretrain.origins.package import find_installed

IMPORTS = {  # by kind of candidate
    "timm": (
        "give pretrain.encoders an entry {build: timm, name: <model>} and pretrain.origins one of the kind `file` with the file of "
        "its weights, or of the kind `package` if they are installed"
    ),
    "file": "give pretrain.encoders an entry for its architecture and pretrain.origins one of the kind `file` with its `weights`",
    "fused": "give pretrain.encoders an entry {build: fused} and pretrain.origins one of the kind `fused` with the checkpoints",
    "random": "epoch 0 of every folder of checkpoints has random weights, as checkpoints/<encoder>-<origin>/epoch-000.safetensors",
}
PAGES = {"fused": "fuse.md"}  # of docs/how-to; of other kinds weights.md


def how_to_import(kind: str) -> str:
    """Return what a user does to make a checkpoint of a candidate of a kind of IMPORTS."""
    page = PAGES.get(kind, "weights.md")
    return IMPORTS[kind] + ("" if kind == "random" else f", then run `medtransfer pretrain` (docs/how-to/{page})")


def timm_snippet(name: str) -> str:
    """Return params, one line of YAML, by which `pretrain` imports the weights of a timm model.

    Args:
        name: of the model, such as `resnet50.a1_in1k`; of weights that are installed the snippet is complete, of others the user
            names the file.
    """
    origin = (
        "{kind: package, folder: weights, epoch: 300}"
        if find_installed(name)
        else f"{{kind: file, weights: weights/{name}.safetensors, epoch: 300, source: imagenet, pickle: false, "
        "allow_partial: false, prefix: null, input: null}"
    )
    model = name.removesuffix(".in1k") if find_installed(name) else name
    return f"pretrain: {{encoders: {{{encoder_key(name)}: {{build: timm, name: {model}}}}}, origins: {{imagenet: {origin}}}}}"


def encoder_key(name: str) -> str:
    """Return a key of pretrain.encoders for a timm model; a dot would separate keys in options."""
    return name.replace(".", "-")


def timm_steps(name: str, target: str | None) -> str:
    """Return the steps from a timm model to fine-tunings, or to a candidate of `race`.

    Args:
        name: of the model.
        target: prepared target to fine-tune on; None where a folder of images was ranked on, which must be prepared first.
    """
    key = encoder_key(name)
    files = f"{repeated_options()} --params imported.yaml"
    series = f"--encoder {key} --origin imagenet"
    file = "" if find_installed(name) else ", with the file and the data of its weights as they are"
    on = shlex.quote(target) if target else "NAME"
    first = "" if target else "prepare images and masks as a target NAME (docs/how-to/own-data.md), and "
    return (
        f"write `{timm_snippet(name)}` to imported.yaml{file}, and run `medtransfer pretrain{files} {series}`; then {first}"
        f"`medtransfer finetune{files} --target {on} {series} --epoch 0,300` trains from it and from random weights, and "
        f"`medtransfer race{files} --target {on}` takes the candidate checkpoints/{key}-imagenet (docs/how-to/weights.md)"
    )
