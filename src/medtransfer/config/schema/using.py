"""Models in use, results of others, and the UI."""

from typing import Annotated, Literal

from pydantic import Field

from medtransfer.config.schema.values import BelowOne, Out, Place, Positive, Rate, Section


class Predict(Section):
    """Masks for new images from fine-tuned models."""

    out: Out
    """folder of the masks and tables"""
    model: list[Place]
    """folders of fine-tuned models of the same classes, whose probabilities are averaged"""
    images: Place | None
    """picture, NIfTI volume or DICOM file to predict, or a folder of them"""
    channels: list[str]
    """what names have after the case where each channel has a file, such as [_0000, _0001], or patterns with {case}; []: none"""
    masks: Place | None
    """reference masks of the images, to compute all metrics: a folder, or the file of a single image; null: none"""
    mask_suffix: str | None
    """what a mask's name has after its image's, such as _gt: files that end so are no images; null: likely masks are refused"""
    labels: dict[int | str, str] | None
    """raw value or DICOM segment -> class, background or ignore, in reference masks; null: 0, 1, 2..., of one class also 255"""
    mask_threshold: float | None
    """lowest value of the one class in reference masks, such as 128; null: labels, or values near 0 and 255 of JPEG files"""
    slide: bool
    """whether windows slide over images at their own size; false: images are resized as those of the target"""
    overlap: BelowOne
    """share of a window's side that neighbouring windows have in common; the mean of both counts"""
    flips: list[Literal["horizontal", "vertical"]]
    """axes along which copies are flipped: the mean over all of them counts"""
    probabilities: bool
    """whether probabilities are written, too: .npy of pictures, NIfTI of volumes"""
    overlays: bool
    """whether pictures of the images with their masks are written"""
    accelerator: Literal["auto", "cpu", "gpu", "mps"]
    """device to compute on; auto: a GPU where there is one"""
    precision: Literal["32-true", "16-mixed", "bf16-mixed"]
    """precision of the arithmetic; 16-mixed: on a GPU only; bf16-mixed: also on a CPU"""


class Replay(Section):
    """A paper's released result files, and its tables computed from them, or its claims tested on its printed tables."""

    out: Out
    """folder of the replayed tables"""
    paper: Literal["hidy", "hosseinzadeh-taher", "truong", "dippel"]
    """hidy: from the released files below | hosseinzadeh-taher, truong, dippel: from the printed tables"""
    downstream: Place | None
    """downstream_scores.csv of the paper's authors"""
    robustness: Place | None
    """robustness_scores.csv of the paper's authors"""


class Export(Section):
    """A fine-tuned model in another format, checked against the original."""

    out: Out
    """folder of exported models"""
    model: Place | None
    """folder of the fine-tuned model, models/<target>/<encoder>-<origin>/<cell>; null: name it by --model"""
    format: Literal["folder", "torch", "onnx", "mlflow"]
    """folder: with all weights | torch: torch.export | onnx: ONNX | mlflow: to serve, and registered as its target's champion"""
    times_rounding: Rate
    """accepted difference of a probability, in multiples of the original's own from double precision"""


class Evidence(Section):
    """Results of others, imported from small tables."""

    out: Out
    """folder of imported evidence"""


class Ui(Section):
    """The MLflow UI on the tracking store."""

    host: Place
    """address to listen on; 127.0.0.1: this machine only"""
    port: Annotated[Positive, Field(le=65535)]
    """port to listen on; if it is taken, a free one"""
