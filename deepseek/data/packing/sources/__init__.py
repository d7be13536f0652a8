"""One small file a kind of source; ``open_source`` finds out which kind a path is."""
