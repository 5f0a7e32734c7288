"""Small files of users are read as text, and large ones are refused before they fill the memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelmill.workers.small_files import MOST_BYTES, small_text


def test_the_text_of_a_file_up_to_a_number_of_bytes(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_text("é" * 5, encoding="utf-8")
    assert small_text(path) == small_text(path, 10) == "é" * 5
    with pytest.raises(OSError, match="has more than 0 MB"):
        small_text(path, 9)


def test_a_file_without_an_end_is_refused() -> None:
    with pytest.raises(OSError, match="has more than 64 MB"):
        small_text(Path("/dev/zero"))
    assert MOST_BYTES == 64 << 20
