"""Features, masks and scores go in; numbers come out: pure functions and the thin shells that stream them."""
