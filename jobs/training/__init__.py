"""A training as a person asked for it: its file, its plan, what marks its folder, what is reported of it."""
