"""Analysis of results: pools of candidates from the tracking store, their verdicts and summaries."""
