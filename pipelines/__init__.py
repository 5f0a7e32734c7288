"""The floor that sees the dataset: manifests, Ray Data graphs, and the account of what is done."""
