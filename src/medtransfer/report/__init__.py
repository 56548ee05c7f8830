"""The report: an analysis of the tracking store as tables, text, pictures and a page."""
