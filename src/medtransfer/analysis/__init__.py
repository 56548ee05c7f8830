"""What results mean: pools of candidates read from the store, judged one by one and summed up."""
