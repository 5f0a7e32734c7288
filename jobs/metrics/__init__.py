"""Metrics for Prometheus: what an attempt's events add up to, through Ray or by an address of the driver."""
