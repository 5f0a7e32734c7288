"""Runs by their folders alone: their state, their logs, how they are stopped and resumed. No cluster is asked."""
