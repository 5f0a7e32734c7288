"""Bytes to pixels and back: formats, headers, the memory of decoding, and errors of inputs that can't be decoded."""
