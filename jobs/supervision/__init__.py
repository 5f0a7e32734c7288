"""Runs that are brought back: why an attempt ended, what follows from it, and what a run may take."""
