"""Patterns match a name as a whole: `*` within a folder, `**` through all below it."""

from __future__ import annotations

import pytest

from pixelmill.pipelines.inputs.globs import matcher


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*.jpg", "a.jpg", True),
        ("*.jpg", "a.jpg.txt", False),
        ("*.jpg", "sub/a.jpg", False),
        ("sub/*", "sub/a.jpg", True),
        ("sub/*", "sub/deep/a.jpg", False),
        ("**/a.jpg", "a.jpg", True),
        ("**/a.jpg", "sub/deep/a.jpg", True),
        ("**/a.jpg", "sub/ba.jpg", False),
        ("sub/**", "sub/deep/a.jpg", True),
        ("?.jpg", "a.jpg", True),
        ("?.jpg", "ab.jpg", False),
        ("[a-c].jpg", "b.jpg", True),
        ("[!a-c].jpg", "b.jpg", False),
        ("a+(1).jpg", "a+(1).jpg", True),
        ("a.jpg", "abjpg", False),
    ],
)
def test_a_pattern_matches_as_a_shell_does(pattern: str, name: str, matches: bool) -> None:
    assert bool(matcher(pattern)(name)) is matches
