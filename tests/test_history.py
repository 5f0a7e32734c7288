"""The figures of the README are those of the newest line of the history of benchmarks, whose lines have one form."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
HISTORY, README = ROOT / "benchmarks/history.jsonl", ROOT / "README.md"


def checked(history: Path = HISTORY, readme: Path = README, doing: str = "--check") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.history", doing, "--history", str(history), "--readme", str(readme)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_table_of_the_readme_is_that_of_the_newest_line() -> None:
    assert checked().returncode == 0


def test_a_figure_that_was_typed_over_is_found_and_put_right(tmp_path: Path) -> None:
    text = README.read_text()
    row = next(line for line in text.splitlines() if line.startswith("| Daft, local disk | "))
    typed = re.sub(r"\d+\.\d", "29.7", row, count=1)
    (readme := tmp_path / "README.md").write_text(text.replace(row, typed))
    assert readme.read_text() != text
    assert "is not that of the newest line" in checked(readme=readme).stderr
    assert checked(readme=readme, doing="--write").returncode == 0
    assert readme.read_text() == text


def test_the_newest_line_counts(tmp_path: Path) -> None:
    newer = json.loads(HISTORY.read_text().splitlines()[-1]) | {"version": "9.9.9"}
    (history := tmp_path / "history.jsonl").write_text(f"{HISTORY.read_text()}{json.dumps(newer)}\n")
    (readme := tmp_path / "README.md").write_text(README.read_text())
    assert checked(history, readme).returncode == 1
    assert checked(history, readme, "--write").returncode == 0
    assert "Version 9.9.9, " in readme.read_text()


def test_a_line_of_another_form_is_refused(tmp_path: Path) -> None:
    line = json.loads(HISTORY.read_text().splitlines()[-1])
    figures = line["figures"]["Pixelmill, S3"]
    for change in ({"speed": 1.0}, {"images_per_s": [-1.0]}, {"images": None}):
        changed = line | {"figures": {"Pixelmill, S3": figures | change}}
        (history := tmp_path / "history.jsonl").write_text(f"{json.dumps(changed)}\n")
        done = checked(history)
        assert done.returncode == 1
        assert "ValidationError" in done.stderr
