"""What a request may hold, and what it is answered."""

from dataclasses import asdict

import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from tests.export.models import RULE, write_model
from tests.tiny_encoders import TINIEST

from medtransfer.export.serving import Served, _load_pyfunc
from medtransfer.records import ImageRule

WINDOW = asdict(ImageRule("window", -100.0, 155.0))


@pytest.fixture
def served(tmp_path):
    def make(rule) -> Served:
        return _load_pyfunc(str(write_model(tmp_path / "model", "unet", TINIEST["unet"], 32, channels=1, image_rule=rule)))

    return make


def picture() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (2, 40, 24, 1)).astype(np.float32)


def test_masks_are_the_probabilities_above_the_threshold(served):
    model = served(RULE)
    probabilities = model.predict(picture(), {"output": "probabilities"})
    assert probabilities.shape == (2, 1, 40, 24)
    masks = model.predict(picture())
    assert masks.dtype == np.uint8 and set(np.unique(masks)) == {0, 1}
    np.testing.assert_array_equal(masks, probabilities[:, 0] > 0.5)


def test_raw_values_are_scaled_by_the_rule_of_the_model(served):
    """By a window from -100 to 155, a raw value is an 8-bit one minus 100."""
    model = served(WINDOW)
    kept = model.predict(picture(), {"values": "8-bit", "output": "probabilities"})
    np.testing.assert_array_equal(model.predict(picture() - 100, {"output": "probabilities"}), kept)


@pytest.mark.parametrize("value", [0.5, -1, 256, np.nan, np.inf])
def test_other_values_are_not_taken_for_bytes(value, served):
    images = picture()
    images[0, 3, 4] = value
    with pytest.raises(MlflowException, match='expected whole numbers from 0 to 255.*"values": "raw"') as refusal:
        served(RULE).predict(images)
    assert refusal.value.get_http_status_code() == 400


@pytest.mark.parametrize("name", ["values", "output"])
def test_unknown_parameters_are_refused(name, served):
    with pytest.raises(MlflowException, match=f"expected the parameter {name} to be .* or .*, but got 'all'"):
        served(RULE).predict(picture(), {name: "all"})


def test_an_unknown_rule_is_refused(served):
    with pytest.raises(MlflowException, match="expected a rule how raw images become those of the target lesions"):
        served(None).predict(picture())
