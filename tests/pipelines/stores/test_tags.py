"""Where a store has no tags, the tag of a file is a digest of what is in it."""

from __future__ import annotations

import fsspec

from pixelmill.pipelines.stores.conditional import Unfenced
from pixelmill.pipelines.stores.tags import digest, tag_by_reading


def test_a_digest_follows_from_the_content_alone_and_never_changes() -> None:
    assert digest(b"") == "cae66941d9efbd404e4d88758ea67670"  # two versions may write one folder in turn
    assert digest(b"a") != digest(b"b")


def test_a_tag_by_reading_is_that_of_the_content_and_none_where_there_is_no_file() -> None:
    store = fsspec.filesystem("memory")
    store.pipe_file("/tags/a", b"one")
    assert tag_by_reading(Unfenced(store), "/tags/a") == digest(b"one")
    store.pipe_file("/tags/a", b"two")
    assert tag_by_reading(Unfenced(store), "/tags/a") == digest(b"two")
    assert tag_by_reading(Unfenced(store), "/tags/gone") is None
