"""The guardian: what watches that every position is covered, every limit holds and every figure is fresh."""
