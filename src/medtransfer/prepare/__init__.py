"""Turn raw datasets into prepared targets."""
