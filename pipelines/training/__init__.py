"""Training with Ray Train: data sets, samples for every step, checkpoints and the log."""
