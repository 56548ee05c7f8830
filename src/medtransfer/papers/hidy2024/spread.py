"""Spread of the paper's results over seeds."""

# Standard deviation over seeds of the test Dice, relative to the best checkpoint's, by reader: pooled over the checkpoints after
# epoch 0, median over 12 configurations. Source: downstream_scores.csv of Hidy et al., arXiv:2410.18677.
RELATIVE_SPREADS = {"acdc": 0.0023, "covid-qu": 0.0032, "idrid": 0.0095}
