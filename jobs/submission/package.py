"""The code and the job file that are sent to a cluster, as one zip whose content decides its name.

Ray caches a wheel by its file name, so a changed wheel of one version runs stale; a zip is cached by the hash of its bytes.
These are a function of the files alone: no times, no owners, one order.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from pixelmill.workers.stages import STAGES, config_class

HERE = Path(__file__).resolve().parent.parent.parent
"""The folder that holds the three floors, in a checkout and in an installation."""
FLOORS = ("jobs", "pipelines", "workers")
CODE_SUFFIXES = frozenset({".py", ".yaml", ".md", ".json"})
_EPOCH = (1980, 1, 1, 0, 0, 0)


def packed(files: Mapping[str, bytes]) -> bytes:
    """A zip of these files; equal files give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, files[name])
    return buffer.getvalue()


def digest_of(files: Mapping[str, bytes]) -> str:
    """The hash of the names and contents of files."""
    hashed = hashlib.sha256()
    for name in sorted(files):
        hashed.update(f"{name}\0{len(files[name])}\0".encode() + files[name])
    return hashed.hexdigest()


def code(texts: str = "") -> dict[str, bytes]:
    """The code of this process by its place in the zip, with the checkpoints that ship where `texts` names them."""
    import pixelmill

    package = Path(str(pixelmill.__file__)).parent
    found = {f"pixelmill/{path.name}": path.read_bytes() for path in sorted(package.glob("*.py"))}
    for floor in FLOORS:
        for path in sorted((HERE / floor).rglob("*")):
            name = path.relative_to(HERE / floor).as_posix()
            if path.suffix in CODE_SUFFIXES and path.is_file() and not name.startswith("zoo/"):
                found[f"pixelmill/{floor}/{name}"] = path.read_bytes()
    return found | dict(_shipped(texts))


def _shipped(texts: str) -> Iterator[tuple[str, bytes]]:
    """Checkpoints of the zoo that are named, also by the end of their name, as a style is; cards of all, which are small."""
    words, zoo = _names_in(texts), HERE / "workers" / "zoo"
    for path in sorted(zoo.glob("*")):
        stem = path.name.partition(".")[0]
        is_named = stem in words or any(stem.endswith(f"-{word}") for word in words)
        if path.is_file() and (path.suffix == ".json" or is_named):
            yield f"pixelmill/workers/zoo/{path.name}", path.read_bytes()


def _names_in(texts: str) -> set[str]:
    """The words of the texts, and of the defaults of the stages that they name: a default may be a checkpoint that ships."""
    words = set(re.findall(r"[\w-]+", texts))
    defaults = [
        str(field.default) for kind in STAGES if kind in words for field in config_class(kind).model_fields.values()
    ]
    return words | set(re.findall(r"[\w-]+", " ".join(defaults)))
