"""What the site has beside the pages that lie here: the reference, made from the code, and CONTRIBUTING from above."""

from __future__ import annotations

import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent


def on_files(files: Files, config: MkDocsConfig) -> Files:
    sys.path[:0] = [str(ROOT), str(ROOT / "docs")]
    import reference

    for name, page in reference.PAGES.items():
        files.append(File.generated(config, name, content=page()))
    files.append(File.generated(config, "contributing.md", content=contributing()))
    return files


def contributing() -> str:
    """CONTRIBUTING.md with its links as seen from here, and each diff to read."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").replace("](docs/", "](")
    text = text.replace("[CHANGELOG.md](CHANGELOG.md)", "CHANGELOG.md")
    diffs = sorted((ROOT / "docs/additions").glob("*.diff"))
    shown = [f"### {path.name}\n\n```diff\n{path.read_text(encoding='utf-8')}```\n" for path in diffs]
    return "\n".join([text, "## The diffs\n", *shown])
