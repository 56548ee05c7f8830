"""The ranking as a function: `medtransfer.rank`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medtransfer.rank import stage
from medtransfer.rank.ranking import Ranking
from medtransfer.working_folder import load_arguments, path_text, path_texts


def rank(
    images: str | Path | None = None,
    masks: str | Path | None = None,
    *,
    candidates: str | Path | Sequence[str | Path] = (),
    **settings: Any,
) -> Ranking:
    """Rank candidate encoders on images, before any fine-tuning.

    It does what the command `medtransfer rank` does in the working folder, whose params.yaml counts if there is one:
    candidates that were measured before are reused, page and tables are written to the folder `out`, and each candidate
    is a run in the tracking store. Several candidates are measured in processes of their own, so a script that calls it
    needs the guard `if __name__ == "__main__":`.

    A long call is silent but for warnings, and progress bars on a terminal;
    `logging.basicConfig(level=logging.INFO, format="%(message)s")` before it shows what it is doing.

    ```python
    ranking = medtransfer.rank("scans", "drawn", candidates=["resnet50.a1_in1k", "convnext_tiny.fb_in1k", "random"])
    for index in ranking.order:
        print(ranking.candidates[index].name, ranking.values("ridge")[index], index in ranking.kept)
    ```

    Args:
        images: folder of images; None: a prepared target, which the setting `target` names.
        masks: folder of their masks; None: none, which leaves out every indicator that needs labels.
        candidates: timm names, files and folders of checkpoints, `FILE@ARCHITECTURE`, `random`, or a single one; empty: those
            of the study, and installed weights.
        **settings: other keys of the section `rank` of params.yaml, such as `by="logme"`, `out="elsewhere"` or `size=[224, 224]`.

    Returns:
        The ranking: `candidates`; `order`, their indices, best first; `kept`, the indices of those that cannot be distinguished
        from the best; `values(indicator)` and `standings[indicator]`, with intervals and P(best).

    Raises:
        InputError: the images, a candidate or a setting cannot be used.
        StageError: no candidate could be measured.
    """
    folders = {key: path_text(folder, key) for key, folder in {"images": images, "masks": masks}.items() if folder is not None}
    named = {**folders, "candidates": path_texts(candidates, "candidates")}
    given = {key: value for key, value in named.items() if value} | settings
    return stage.rank(load_arguments("rank", given))
