"""Training: one loop, one stage a file."""
