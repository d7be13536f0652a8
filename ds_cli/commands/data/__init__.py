"""``deepseek data``: packed data sets."""
