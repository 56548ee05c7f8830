"""What results mean: pools of candidates, judged and summed up."""
