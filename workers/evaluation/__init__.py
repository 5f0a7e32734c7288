"""Scores of codes, labels, depths and pictures."""
