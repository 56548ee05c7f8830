"""Replay of Hidy et al. 2024: import of the released result files, and the paper's tables recomputed from them."""
