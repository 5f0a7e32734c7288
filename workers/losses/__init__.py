"""Losses that several recipes share."""
