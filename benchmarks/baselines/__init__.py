"""Scripts that a user would write by hand, one for each approach, with the same command line and definition of speed."""
