"""How good a result is: scores of codes, labels, depths and pictures."""
