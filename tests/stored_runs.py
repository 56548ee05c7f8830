"""What a stage's runs hold, whenever and wherever they were written."""

from typing import Any

from medtransfer import tracking


def stored_runs(stage: str) -> dict[str, dict[str, Any]]:
    """Return params, metrics, tags, files, curves and inputs of a stage's runs, by cell."""
    found = {}
    for run in tracking.read_runs(stage):
        inputs = tracking.connect().get_run(run.id).inputs.dataset_inputs
        with tracking.artifact_folder(run.id, "") as folder:
            files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        found[run.tags[tracking.CELL]] = {
            "params": run.params, "metrics": run.metrics, "files": files,
            "tags": {name: value for name, value in run.tags.items() if name != "machine"},  # that trained it, where it is known
            "curves": {name: tracking.read_curve(run.id, name) for name in run.metrics},
            "inputs": [(given.dataset.name, given.dataset.digest, given.tags[0].value) for given in inputs],
        }  # fmt: skip
    return found
