"""Networks by name: published encoders, checkpoints with their cards, and what each of them needs of a picture."""
