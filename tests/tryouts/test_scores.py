"""Scores without each validation patient."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medtransfer.analysis.patients import LabelsByPatient
from medtransfer.metrics.image_labels import Predicted
from medtransfer.tryouts import scores


@pytest.mark.parametrize("at_once", [1, 100, 10_000])
def test_each_patient_is_left_out_in_turn(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 50,000 patients all at once were 20 GB."""
    rng = np.random.default_rng(4)
    probabilities, truth, patient = rng.random((90, 1)), rng.integers(0, 2, (90, 1)), np.arange(90) // 3
    table = LabelsByPatient("auc", tuple(f"p{number:02d}" for number in range(30)), patient, Predicted(probabilities, truth))
    monkeypatch.setattr(scores, "AT_ONCE", at_once)
    expected = [roc_auc_score(truth[patient != number, 0], probabilities[patient != number, 0]) for number in range(30)]
    assert scores._without_each(table) == pytest.approx(np.array(expected))
    assert not table.predicted._rankings  # else every fine-tuning of a report would keep its own
