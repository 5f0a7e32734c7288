"""A file that is no mapping, or says a thing twice, is refused with its name and the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelmill.jobs.documents.parsing import read_file
from pixelmill.workers.errors import JobError
from tests.jobs.job_files import SMALLEST, fault


def test_text_that_is_no_yaml_is_refused_with_its_line() -> None:
    assert "job.yaml, line 3" in fault("version: 1\nsource: a\nout: [b\n")
    assert "line 2" in fault("version: 1\n\tsource: a\n")
    for text in ("", "- embed", "embed"):
        assert "a job file is a mapping with version, source, out and stages" in fault(text)


def test_a_key_that_stands_twice_is_refused_and_not_overridden_in_silence() -> None:
    assert "source (line 6): stands here a second time" in fault(SMALLEST + "source: other\n")
    assert "model (line 5): stands here a second time" in fault(SMALLEST.replace("model:", "model: a, model:"))


def test_a_job_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"gone\.yaml: there is no such job file"):
        read_file(str(tmp_path / "gone.yaml"))
    (tmp_path / "latin.yaml").write_bytes("source: caf\u00e9".encode("latin-1"))
    with pytest.raises(JobError, match=r"latin\.yaml: can't be read"):
        read_file(str(tmp_path / "latin.yaml"))
    (tmp_path / "picture.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(JobError, match=r"picture\.jpg: can't be read as text in UTF-8; name a job file"):
        read_file(str(tmp_path / "picture.jpg"))
    with pytest.raises(JobError, match=r": is a folder; name a job file$"):
        read_file(str(tmp_path))
