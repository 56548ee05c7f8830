"""Why robustness and the test metric part ways: geometry of the features by checkpoint and level, and what goes with what."""
