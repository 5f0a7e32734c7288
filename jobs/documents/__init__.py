"""What the user wrote: YAML, overrides, references to the environment, and its faults in the user's words."""
