"""The commands of `pixelmill`, a file for each group; `cli.py` puts them together. They import lazily."""
