"""Results as a person reads them, for commands whose view is longer than the command itself."""
