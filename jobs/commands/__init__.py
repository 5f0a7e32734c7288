"""The commands of `pixelmill`, a file for each group; `cli.py` puts them together. They import what they do when they do it."""
