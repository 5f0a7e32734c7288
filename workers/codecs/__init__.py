"""Bytes to pixels and back: formats, headers, what decoding takes, and why an input can not be decoded."""
