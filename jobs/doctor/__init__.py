"""Look for what would stop a job here, before it does: each finding with a figure, each fault with the next step."""
