"""What a run leaves in its folder: the manifest, the claim on it, the ledger of what is done, and its repair."""
