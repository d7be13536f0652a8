"""Records out of the files people have."""
