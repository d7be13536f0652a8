"""Which layers stay in floating point so that the model keeps within its budget."""
