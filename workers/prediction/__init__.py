"""Run a trained network over whole pictures of any size."""
