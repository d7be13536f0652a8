"""Schemes, measurement, the accuracy gate, the written folder."""
