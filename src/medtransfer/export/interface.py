"""Input and output of a fine-tuned model as one graph."""

from typing import Any

from medtransfer.records import ModelInfo

PIXELS, PROBABILITIES = "pixels", "probabilities"  # names of input and output


def graph_interface(info: ModelInfo) -> dict[str, dict[str, Any]]:
    """Describe input and output of the graph."""
    outputs = len(info.classes) + (not info.thresholds and not info.of_images)
    scaled = "resized to the input and scaled to 0-255 by image_rule; mean and std are applied inside"
    meaning = "probability of the class" if info.thresholds else "probabilities of background and classes, which sum to 1"
    if info.of_images:
        meaning = f"probabilities of {', '.join(info.classes)} in the image"
    shape = [None, outputs] if info.of_images else [None, outputs, *info.input]
    return {
        "input": {"name": PIXELS, "dtype": "uint8", "shape": [None, *info.input, info.channels], "meaning": scaled},
        "output": {"name": PROBABILITIES, "dtype": "float32", "shape": shape, "meaning": meaning},
    }
