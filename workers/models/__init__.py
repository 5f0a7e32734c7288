"""Networks by name: published encoders, checkpoints with their cards, and the preprocessing of each."""
