"""Calibration data that is no text: images, arrays, and random numbers where they are asked for."""
