"""Data to calibrate and measure on: texts, images, arrays, and random numbers where asked for."""
