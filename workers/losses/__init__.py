"""Losses that recipes share, and the optimisation of a picture by them."""
