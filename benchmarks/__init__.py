"""Measure Pixelmill: servers, pictures and baselines that its throughput is compared with."""
