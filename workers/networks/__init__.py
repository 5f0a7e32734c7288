"""One architecture per file, as in its paper."""
