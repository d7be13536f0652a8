"""Checkpoints as compiled programs: what ``deepseek compile`` does."""
