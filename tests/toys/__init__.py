"""Stages and decoders as a newcomer would write them: each is one file, which nothing else knows by name."""
