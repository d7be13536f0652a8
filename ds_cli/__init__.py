"""The command line of the toolkit: flags in, one call of the library, its result shown."""
