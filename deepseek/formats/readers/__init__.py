"""One reader a format: the path of a file or folder in, a lazily read checkpoint out."""
