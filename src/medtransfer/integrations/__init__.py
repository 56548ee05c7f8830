"""Stopping rules as callbacks of other libraries' training loops; each needs the extra of its name."""
