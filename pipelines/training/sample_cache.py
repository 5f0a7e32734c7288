"""Keep decoded samples on local disk from one training to the next.

    FOLDER/KEY/              the samples of one data set, decoded by one recipe (mapped_samples.py)
    FOLDER/KEY.lock          held by the process that decodes them; others that want them wait
    FOLDER/KEY.XXXX.part/    what it has written so far; a killed one's is removed by the next that takes the lock

KEY is a hash of all that decides the samples: each file's place, size and version, labels, the recipe with its own settings,
and the versions of the code. The folder is its user's alone, and one that belongs to anybody else is not used. The entries
that were used longest ago make room for new ones. What is kept are decoded pictures and scans: as sensitive as their sources.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import stat
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.decoding import SampleDecoder
from pixelmill.pipelines.training.mapped_samples import ENTRY, Damaged, MappedSamples, write_samples
from pixelmill.workers.errors import RowError
from pixelmill.workers.recipes import Recipe, RecipeSettings, Sample

LOGGER = logging.getLogger(__name__)
_FORMAT = 1
_COLUMNS = ("uri", "member", "offset", "size", "version")
_SPARE_DISK_BYTES = 1 << 30
_PART = ".part"


@dataclass(frozen=True)
class SampleCache:
    """A folder on local disk that may hold `most_bytes`; `code` stands for the versions of all that decodes."""

    folder: str
    most_bytes: int
    code: str

    def opened(self, decoder: SampleDecoder) -> MappedSamples | None:
        """The samples of the decoder's data, decoded now unless they are there; their broken ones are added to the
        decoder's. None where they do not fit, or their folder can't be used or trusted.
        """
        needed = int(decoder.size.mean * len(decoder.data))
        if needed > self.most_bytes or (key := cache_key(decoder.data, decoder.recipe, self.code)) is None:
            return None
        folder = Path(self.folder)
        try:
            _require_private(folder)
            with _lock(folder / f"{key}.lock"):
                return self._kept(folder / key, decoder) or self._decoded(folder / key, decoder, needed)
        except OSError as error:
            LOGGER.warning("decoded samples are not kept in %s: %s", folder, error)
            return None

    def _kept(self, entry: Path, decoder: SampleDecoder) -> MappedSamples | None:
        for part in entry.parent.glob(f"{entry.name}.*{_PART}"):
            shutil.rmtree(part, ignore_errors=True)  # its writer was killed, or it would hold the lock
        if not entry.exists():
            return None
        try:
            found = self._mapped(entry, entry, decoder)
        except Damaged as error:
            LOGGER.warning("decodes again, since what was kept is damaged: %s", error)
            _remove(entry)
            return None
        os.utime(entry / ENTRY)
        return found

    def _decoded(self, entry: Path, decoder: SampleDecoder, needed: int) -> MappedSamples:
        self._make_room(entry.parent, needed)
        part = entry.with_name(f"{entry.name}.{uuid.uuid4().hex}{_PART}")
        part.mkdir(mode=0o700)
        try:
            write_samples(part, decoder.scan(), lambda: _as_json(decoder))
            is_kept = all(error.stage == "decode" for error in decoder.broken.errors.values())
            if is_kept:  # what could not be read may be readable next time
                part.rename(entry)
            return self._mapped(entry if is_kept else part, entry, decoder)
        finally:
            shutil.rmtree(part, ignore_errors=True)  # its pages stay for as long as they are mapped

    def _mapped(self, place: Path, entry: Path, decoder: SampleDecoder) -> MappedSamples:
        def otherwise(index: int) -> Sample | None:
            LOGGER.warning("sample %d is decoded again, since what was kept in %s is damaged", index, entry)
            _remove(entry)
            return next(iter(decoder.some([index])))

        found = MappedSamples(place, otherwise)
        if len(found) != len(decoder.data):
            raise Damaged(f"{place}: has {len(found):,} samples, not {len(decoder.data):,}")
        for index, *reason in found.broken:
            decoder.broken.add(index, RowError(*reason))
        return found

    def _make_room(self, folder: Path, needed: int) -> None:
        """Remove the entries that were used longest ago until `needed` bytes fit. Raises OSError where the disk has no
        room."""
        entries = sorted((path for path in folder.iterdir() if _is_entry(path)), key=_used_s)
        held = {path: _size(path) for path in (*entries, *folder.glob(f"*{_PART}"))}
        for path in entries:
            if sum(held.values()) + needed <= self.most_bytes:
                break
            _remove(path)
            del held[path]
        free = shutil.disk_usage(folder).free
        if free < needed + _SPARE_DISK_BYTES:
            raise OSError(f"{needed / 1e9:.1f} GB are needed, and {free / 1e9:.1f} GB of the disk are free")


def cache_key(data: DataSet, recipe: Recipe, code: str) -> str | None:
    """A hash of all that decides the decoded samples; None where a file's version is not known."""
    hashed = hashlib.sha256()
    for role, table in data.roles.items():
        if table["version"].null_count and role not in data.optional:
            return None
        hashed.update(json.dumps([role, [table[name].to_pylist() for name in _COLUMNS]]).encode())
    of_training = RecipeSettings.model_fields.keys()
    settings = {
        name: value for name, value in recipe.settings.model_dump(mode="json").items() if name not in of_training
    }
    inline = {role: [str(value) for value in values.to_pylist()] for role, values in data.inline.items()}
    labels = None if data.labels is None else data.labels.tolist()
    constants = {name: value.hex() for name, value in data.constants.items()}
    facts = [_FORMAT, code, recipe.NAME, settings, inline, labels, constants]
    hashed.update(json.dumps(facts, sort_keys=True).encode())
    return hashed.hexdigest()[:32]


def _as_json(decoder: SampleDecoder) -> list[list[int | str]]:
    return [[index, error.stage, error.error_type, str(error)] for index, error in decoder.broken.errors.items()]


def _require_private(folder: Path) -> None:
    """Make the folder where it is missing. Raises OSError where it is not this user's alone, or is a link."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise OSError("it is a link, or another user's; remove it, or set run.cache_disk_gb to 0")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise OSError("other users may enter it; chmod it to 700, or set run.cache_disk_gb to 0")


@contextmanager
def _lock(path: Path) -> Generator[None]:
    """Wait until no other process holds this lock, and hold it during the block; the system frees a killed one's."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_entry(path: Path) -> bool:
    return path.suffix not in {_PART, ".lock"} and (path / ENTRY).exists()


def _used_s(entry: Path) -> float:
    with suppress(OSError):
        return (entry / ENTRY).stat().st_mtime
    return 0.0


def _size(folder: Path) -> int:
    size = 0
    for path in folder.glob("*"):
        with suppress(OSError):
            size += path.stat().st_size
    return size


def _remove(entry: Path) -> None:
    """Remove an entry; processes that have mapped it keep its pages."""
    away = entry.with_name(f"{entry.name}.{uuid.uuid4().hex}{_PART}")
    with suppress(OSError):
        entry.rename(away)  # at once: nobody opens half of it
        shutil.rmtree(away, ignore_errors=True)
