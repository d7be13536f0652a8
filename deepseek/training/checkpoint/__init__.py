"""Checkpoints of a run: sharded, written in the background, complete or not there."""
