"""In which order records come: the same for every number of processes."""
