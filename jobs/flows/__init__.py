"""Flows: steps that need each other, of which only what is missing is done."""
