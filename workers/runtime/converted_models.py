"""Keep networks as OpenVINO compiled them, so that the next worker need not trace and convert them again.

    FOLDER/openvino-KEY.blob          a digest of KEY and of what OpenVINO exports of the compiled network, which follows
    FOLDER/.openvino-KEY.XXXX.part    what a worker is writing; one that was killed leaves it for an hour

KEY is a hash of all that decides the file: weights, layers, options and size of the network's input, precision, the processor,
and the versions of the code. The folder is its user's alone, and what is not, or has another digest, is never loaded. No file is
a pickle. The files that were used longest ago make room for new ones. Inductor keeps graphs as pickles, so none of its is kept.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import nn

from pixelmill.workers.runtime.agreement import Agreement, figure_of
from pixelmill.workers.runtime.file_networks import file_network_of
from pixelmill.workers.runtime.outputs import Outputs, as_numbers_on_cpu, first_rows
from pixelmill.workers.runtime.processor import processor_name

MOST_BYTES = 2 << 30
SPARE_DISK_BYTES = 1 << 30
PART_S = 3600.0
_MAGIC = b"pixelmill-ov-01\n"
_DIGEST_BYTES = hashlib.sha256().digest_size
_NAME = re.compile(r"openvino-[0-9a-f]{64}\.blob")
_PART = re.compile(r"\.openvino-[0-9a-f]{64}\.[0-9a-f]{32}\.part")
_ADDRESS = re.compile(r"0x[0-9a-f]+")
_PACKAGES = (
    *("torch", "openvino", "torchvision", "timm", "transformers", "open_clip_torch"),
    *("spandrel", "onnx", "onnx2torch", "onnxruntime"),
)
"""What traces, converts or brings the layers of networks."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class ConvertedModels:
    """A folder that holds at most `most_bytes` of converted networks; `network_key` identifies one with its weights.

    A network is kept, and what was kept is used, if its outputs agree with those of PyTorch by `agreement`.
    """

    folder: Path
    network_key: str
    agreement: Agreement
    most_bytes: int = MOST_BYTES

    def of(self, module: nn.Module, precision: str) -> KeptNetwork:
        """What is kept of this module, on the CPU, computed in `precision`."""
        facts = [self.network_key, precision, processor_name(), _code()]
        hashed = hashlib.sha256(json.dumps(facts).encode())
        hashed.update(_ADDRESS.sub("", str(module)).encode())
        for name, values in [*module.named_parameters(), *module.named_buffers()]:
            hashed.update(f"{name} {values.dtype} {tuple(values.shape)}\0".encode())
            hashed.update(values.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        if (file := file_network_of(module)) is not None:
            hashed.update(f"{file.output_name}\0".encode() + file.data)
        return KeptNetwork(self, hashed.hexdigest())


@dataclass(frozen=True)
class KeptNetwork:
    """One network in the folder, with a file for each shape of its input, BCHW or BHWC."""

    models: ConvertedModels
    digest: str

    def agrees(self, outputs: Outputs, truth: Outputs) -> bool:
        """Whether the first outputs agree with `truth`, those of PyTorch in float32 for one picture."""
        agreement = self.models.agreement
        figure = figure_of(agreement, as_numbers_on_cpu(first_rows(outputs, 1)), as_numbers_on_cpu(truth))
        return figure is not None and agreement.accepts(figure)

    def has(self, shape: tuple[int, ...]) -> bool:
        """Whether there is a file, which may turn out to be unusable."""
        return (self.models.folder / _file_name(self._key(shape))).exists()

    def read(self, shape: tuple[int, ...]) -> bytes | None:
        """What was kept for this shape; None where nothing was, or it can't be trusted."""
        key = self._key(shape)
        try:
            with _opened(self.models.folder) as folder:
                return _read(folder, key, self.models.most_bytes)
        except OSError:
            return None

    def keep(self, shape: tuple[int, ...], blob: bytes) -> None:
        """Keep it, in one step. Without room, or without the folder, the next worker converts again."""
        key, most_bytes = self._key(shape), self.models.most_bytes
        with suppress(OSError):
            self.models.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _opened(self.models.folder) as folder:
                if _made_room(folder, len(blob) + len(_MAGIC) + _DIGEST_BYTES, most_bytes):
                    _write(folder, key, blob)

    def _key(self, shape: tuple[int, ...]) -> bytes:
        return hashlib.sha256(f"{self.digest} {list(shape)}".encode()).digest()


def _file_name(key: bytes) -> str:
    return f"openvino-{key.hex()}.blob"


@cache
def _code() -> str:
    """A hash of the code that builds, traces and converts networks, and of the versions of the libraries that it uses."""
    hashed = hashlib.sha256()
    workers = Path(__file__).resolve().parent.parent
    for path in sorted(workers.rglob("*.py")):
        hashed.update(path.relative_to(workers).as_posix().encode() + b"\0" + path.read_bytes())
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            hashed.update(f"{name} {version(name)}\0".encode())
    return hashed.hexdigest()


# --------------------------------------------------------------------------------------------------------- the folder


@contextmanager
def _opened(folder: Path) -> Generator[int]:
    """The folder's descriptor. Raises OSError where it is missing, a link, or not this user's alone."""
    descriptor = os.open(folder, _FOLDER)
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            raise PermissionError(f"{folder}: other users may enter it")
        yield descriptor
    finally:
        os.close(descriptor)


def _read(folder: int, key: bytes, most_bytes: int) -> bytes | None:
    with os.fdopen(os.open(_file_name(key), _FILE, dir_fd=folder), "rb") as file:
        status = os.fstat(file.fileno())
        if not _is_own_file(status) or status.st_size > most_bytes:
            return None
        magic, digest = file.read(len(_MAGIC)), file.read(_DIGEST_BYTES)
        blob = file.read()
        if magic != _MAGIC or digest != _digest(key, blob):
            return None
        os.utime(file.fileno())  # used last: removed last
        return blob


def _write(folder: int, key: bytes, blob: bytes) -> None:
    name = _file_name(key)
    part = f".{name.removesuffix('.blob')}.{uuid.uuid4().hex}.part"
    try:
        with os.fdopen(os.open(part, _NEW_FILE, 0o600, dir_fd=folder), "wb") as file:
            for piece in (_MAGIC, _digest(key, blob), blob):
                file.write(piece)
            file.flush()
            now_s = os.fstat(file.fileno()).st_mtime  # by the clock of the file system, which may be another machine's
        os.replace(part, name, src_dir_fd=folder, dst_dir_fd=folder)
        _remove_parts(folder, now_s - PART_S)
    except OSError:
        with suppress(OSError):
            os.unlink(part, dir_fd=folder)
        raise


def _digest(key: bytes, blob: bytes) -> bytes:
    hashed = hashlib.sha256(key)
    hashed.update(blob)
    return hashed.digest()


def _made_room(folder: int, needed: int, most_bytes: int) -> bool:
    """Whether `needed` bytes fit, once those files are removed that were used longest ago."""
    held: dict[str, os.stat_result] = {}
    for name in os.listdir(folder):
        with suppress(OSError):  # another worker removes too
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if _NAME.fullmatch(name) and _is_written_here(folder, name):
                held[name] = status
    total = needed + sum(status.st_size for status in held.values())
    for name, status in sorted(held.items(), key=lambda each: each[1].st_mtime):
        if total <= most_bytes or needed > most_bytes:
            break
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        total -= status.st_size
    disk = os.fstatvfs(folder)
    return total <= most_bytes and disk.f_bavail * disk.f_frsize >= needed + SPARE_DISK_BYTES


def _remove_parts(folder: int, before_s: float) -> None:
    """Remove what killed workers left."""
    for name in filter(_PART.fullmatch, os.listdir(folder)):
        with suppress(OSError):
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if _is_own_file(status) and status.st_mtime < before_s:
                os.unlink(name, dir_fd=folder)


def _is_written_here(folder: int, name: str) -> bool:
    with os.fdopen(os.open(name, _FILE, dir_fd=folder), "rb") as file:
        return _is_own_file(os.fstat(file.fileno())) and file.read(len(_MAGIC)) == _MAGIC


def _is_own_file(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_nlink == 1
