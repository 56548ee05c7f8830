"""Search for the robustness setting that chooses best on stored results."""
