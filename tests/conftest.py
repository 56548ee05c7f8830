"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Give the folder of real images; without it the test is reported as skipped by name."""
    folder = os.environ.get("MEDTRANSFER_REALDATA")
    if not folder:
        pytest.skip("MEDTRANSFER_REALDATA names no folder of real images")
    return Path(folder)
