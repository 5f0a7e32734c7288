"""Run trained networks over whole pictures of any size."""
