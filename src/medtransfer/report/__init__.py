"""Report on an analysis of the tracking store: tables, text, pictures and a page."""
