"""Modules for inference, and the arithmetic they stand on."""
