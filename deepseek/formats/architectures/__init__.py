"""One family of architectures a file: how it is told by names and shapes, and what they say."""
