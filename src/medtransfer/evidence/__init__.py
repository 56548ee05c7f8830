"""Stage `evidence`: results that groups exchange as small tables."""
