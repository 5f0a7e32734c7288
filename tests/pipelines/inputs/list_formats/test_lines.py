"""A URI a line, without what is no URI."""

from __future__ import annotations

import io

from pixelmill.pipelines.inputs.list_formats.lines import uris_of_lines


def test_empty_lines_and_comments_are_skipped_and_a_hash_in_a_name_is_not() -> None:
    text = "\ufeffa.jpg\r\n\n# a comment\n  b.jpg  \n#1.jpg\nlast.jpg"
    assert list(uris_of_lines(io.BytesIO(text.encode()), None, "list.txt")) == ["a.jpg", "b.jpg", "#1.jpg", "last.jpg"]
