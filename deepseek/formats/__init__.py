"""Checkpoints in and out: reading, writing, recognising and converting them."""
