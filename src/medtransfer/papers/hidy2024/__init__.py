"""The paper's released result files to the tracking store, and its tables computed again from there."""
