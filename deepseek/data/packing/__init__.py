"""From the files people have to packed records."""
