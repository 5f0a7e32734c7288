"""CT archives on the dataset's floor: the series of an index."""
