"""One writer a format: a checkpoint in, a file or folder out, and the proof that it is right."""
