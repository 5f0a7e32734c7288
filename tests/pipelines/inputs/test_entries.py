"""What lies in a source and is no input is counted by kind, and remote files are read ahead from front to back."""

from __future__ import annotations

from pixelmill.pipelines.inputs.entries import Ignored, sequential


def test_ignored_files_are_counted_by_kind_the_commonest_first_and_ties_by_name() -> None:
    ignored = Ignored()
    for name in ("b.txt", "a.TXT", "/photos/notes.md", "README"):
        ignored.add(name)
    ignored.count("hidden", 1_200)
    assert ignored.says() == "1,200 hidden, 2 .txt, 1 (none), 1 .md"


def test_kinds_beyond_the_most_are_summed_and_none_is_lost() -> None:
    ignored = Ignored({f".{kind}": count for kind, count in zip("abcdefg", range(7, 0, -1), strict=True)})
    assert ignored.says(most=2) == "7 .a, 6 .b, 15 others"
    assert ignored.says(most=7) == "7 .a, 6 .b, 5 .c, 4 .d, 3 .e, 2 .f, 1 .g"
    assert Ignored().says() == ""


def test_a_remote_file_is_read_ahead_and_a_local_one_is_opened_plainly() -> None:
    assert sequential("s3://bucket/0.tar") == {"block_size": 8 << 20, "cache_type": "readahead"}
    assert [sequential(uri) for uri in ("/data/0.tar", "file:///data/0.tar", "local:///data/0.tar")] == [{}, {}, {}]
