"""Prediction as a function: `medtransfer.predict`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medtransfer.predict import stage
from medtransfer.working_folder import load_arguments, path_text, path_texts


def predict(
    images: str | Path, model: str | Path | Sequence[str | Path], *, masks: str | Path | None = None, **settings: Any
) -> dict[str, Path]:  # fmt: skip
    """Write masks of images in their own geometry, as the command `medtransfer predict` does; finished files are reused.

    For arrays in memory there is `medtransfer.load_model(folder).predict(array)`. A long call is silent but for warnings, and
    progress bars on a terminal; `logging.basicConfig(level=logging.INFO, format="%(message)s")` before it shows what it is doing.

    ```python
    masks = medtransfer.predict("new_scans", "models/my-lesions/unet-simple/e010-full-s123124", out="predicted")
    ```

    Args:
        images: a picture, NIfTI volume or DICOM file, or a folder of them.
        model: folder of a fine-tuned model; several of the same classes are averaged.
        masks: reference masks, to write all metrics beside the masks, too; None: none.
        **settings: other keys of the section `predict` of params.yaml, such as `out="elsewhere"` or `flips=["horizontal"]`.

    Returns:
        The file of each image's mask, or of its labels, by the name of the image.

    Raises:
        InputError: a model, an image, a mask or a setting cannot be used.
    """
    given = {"images": path_text(images, "images"), "model": path_texts(model, "model"), **settings}
    if masks is not None and (reference := path_text(masks, "masks")):
        given["masks"] = reference
    params = load_arguments("predict", given)
    records, _ = stage.predict(params.predict, Path(params.pretrain.out), Path(params.prepare.out))
    return {
        record.image: Path(params.predict.out) / record.outputs.get("mask", record.outputs.get("labels", "")) for record in records
    }
