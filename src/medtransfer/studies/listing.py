"""List of the packaged studies."""

from collections.abc import Callable

from medtransfer import study
from medtransfer.config.study_files import StudyFile, study_names
from medtransfer.records.tables import as_markdown
from medtransfer.studies.inputs import MISSING, list_inputs


def list_studies(load: Callable[[str], StudyFile]) -> str:
    """Return one row per study: what it asks, its cells, and whether its data are here.

    Args:
        load: reads a study by its name.
    """
    rows = []
    for name in study_names():
        chosen = load(name)
        inputs = list_inputs(chosen)
        missing = sum(one.state == MISSING for one in inputs)
        rows.append({
            "name": name, "what": chosen.about.what, "parts": len(chosen.parts), "cells": count_cells(chosen),
            "data": f"{missing} of {len(inputs)} missing" if missing else "here or made",
        })  # fmt: skip
    return f"{as_markdown(rows)}\n\nNext: medtransfer study NAME --plan"


def count_cells(chosen: StudyFile) -> int:
    """Count the cells of all parts."""
    return sum(len(study.study_cells(part.params, {})) for part in chosen.parts)
