"""Third-party models as folders of files: fetched by immutable names and read without running any of their code.

Imports no torch, so that planning can use it. A folder holds one model as a hub stores it: a config in JSON, the weights as
safetensors, and further files that its library reads. The content of its files, or its commit, identifies a model; its name
does not.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import JsonValue

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.file_contents import require_finite_weights, sha256_of
from pixelmill.workers.models.safetensors_header import require_whole

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.msgpack", "*.h5")
MOST_JSON_BYTES = 16 << 20
MOST_README_BYTES = 1 << 20
HUB, FOLDER = "hf-hub:", "local-dir:"
"""How timm and open_clip write where a model is, before a name on the Hugging Face Hub or a path."""
MOST_NUMBER = 1 << 20
"""The largest number in a configuration; sizes, widths and depths of networks stay far below."""
CONVERT = (
    "a pickle can run code when it is loaded, so none is; convert it once, where you trust it, with "
    "safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'model.safetensors')"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@dataclass(frozen=True)
class HubName:
    """A repository of the Hugging Face Hub at one commit, whose files never change."""

    repository: str
    commit: str

    def __str__(self) -> str:
        return f"{self.repository}@{self.commit}"


def require_installed(model: str, package: str, extra: str) -> None:
    """ModelError if the library is not installed. Imports nothing."""
    if find_spec(package) is None:
        raise ModelError(f"model {model}: {package} is not installed: pip install 'pixelmill[{extra}]'")


def hub_name(model: str, rest: str) -> HubName:
    """The complete name for `OWNER/NAME@COMMIT`; ModelError for a name whose files may change."""
    repository, _, commit = rest.partition("@")
    if not _REPOSITORY.fullmatch(repository):
        raise ModelError(
            f"model {model}: {repository or 'nothing'} is neither a folder here nor a name like OWNER/NAME"
        )
    if not _COMMIT.fullmatch(commit):
        raise ModelError(
            f"model {model}: what a name or a branch holds can change, and then two runs of one job would differ; write "
            f"{repository}@COMMIT with the 40 digits of a commit, as https://huggingface.co/{repository}/commits/main "
            f"lists them, or the folder that holds its files"
        )
    return HubName(repository, commit)


@cache
def fetched(model: str, name: HubName, patterns: tuple[str, ...], needed: tuple[tuple[str, ...], ...]) -> Path:
    """The folder of a commit: from the hub's cache if it is complete there, otherwise over the network.

    Only files that match `patterns` are fetched; of each tuple in `needed` one file has to exist.
    """
    from huggingface_hub.errors import LocalEntryNotFoundError

    hub: Any = import_module("huggingface_hub")

    def download(*, offline: bool) -> Path:
        return Path(
            hub.snapshot_download(
                name.repository, revision=name.commit, allow_patterns=list(patterns), local_files_only=offline
            )
        )

    try:
        folder = download(offline=True)
        has_needed = all(any((folder / file).is_file() for file in files) for files in needed)
        if has_needed and _has_weights(folder, patterns):
            return folder
    except LocalEntryNotFoundError:
        pass
    try:
        return download(offline=False)
    except Exception as error:  # the hub's client raises a dozen types, and those of two HTTP libraries
        raise _not_fetched(model, error, [*(files[0] for files in needed), "the *.safetensors"]) from error


@cache
def fetched_file(model: str, repository: str, file: str) -> Path:
    """One file of a repository, from the hub's cache or over the network, for names that a library ties to weights."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    hub: Any = import_module("huggingface_hub")
    try:
        return Path(hub.hf_hub_download(repository, file, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    try:
        return Path(hub.hf_hub_download(repository, file))
    except Exception as error:
        raise _not_fetched(model, error, [file]) from error


def _not_fetched(model: str, error: Exception, needed: Sequence[str]) -> ModelError:
    first_line = str(error).strip().partition("\n")[0]
    return ModelError(
        f"model {model}: its files could not be fetched from the Hugging Face Hub ({type(error).__name__}: {first_line}); "
        f"where there is no network put {', '.join(needed)} into a folder and name that folder in its place, or copy a filled "
        "cache to $HF_HOME/hub"
    )


def _has_weights(folder: Path, patterns: Sequence[str]) -> bool:
    wanted = [pattern for pattern in patterns if pattern.endswith(".safetensors")]
    if not any(file for pattern in wanted for file in folder.glob(pattern)):
        return False
    if not (folder / INDEX).is_file():
        return True
    return all((folder / name).is_file() for name in _shards("", folder / INDEX))


def weight_files(model: str, folder: Path, names: Sequence[str] = (WEIGHTS,)) -> list[Path]:
    """The safetensors files of a folder, each whole and finite: the first of `names` that exists, or the shards of its index."""
    files = _weight_files(model, folder, names)
    for file in files:
        require_whole(file)
    require_finite_weights(files)
    return files


def _weight_files(model: str, folder: Path, names: Sequence[str]) -> list[Path]:
    for name in names:
        if (folder / name).is_file():
            return [require_inside(model, folder, folder / name)]
    if (folder / INDEX).is_file():
        shards = [folder / name for name in _shards(model, require_inside(model, folder, folder / INDEX))]
        if missing := [file.name for file in shards if not file.is_file()]:
            raise ModelError(
                f"model {model}: {', '.join(missing[:3])} is missing beside {INDEX}; fetch the model again"
            )
        return [require_inside(model, folder, file) for file in shards]
    if pickled := sorted(file.name for pattern in PICKLES for file in folder.glob(pattern)):
        raise ModelError(f"model {model}: {folder} has {', '.join(pickled[:3])} and no {names[0]}: {CONVERT}")
    raise ModelError(
        f"model {model}: {folder} has no {names[0]}; name a folder with a config and weights as safetensors"
    )


def _shards(model: str, index: Path) -> list[str]:
    weight_map = read_json(model, index).get("weight_map")
    names = sorted({str(name) for name in weight_map.values()}) if isinstance(weight_map, dict) else []
    if not names or any(not name.endswith(".safetensors") or Path(name).name != name for name in names):
        raise ModelError(
            f"model {model}: {index.name} has to name *.safetensors files beside it; fetch the model again"
        )
    return names


def read_json(model: str, file: Path) -> dict[str, JsonValue]:
    """A JSON object of a bounded size; ModelError otherwise."""
    try:
        if file.exists() and not file.is_file():
            raise ModelError(f"model {model}: {file.name} is no file; put the file itself into the folder")
        with file.open("rb") as opened:
            text = opened.read(MOST_JSON_BYTES + 1)
        if len(text) > MOST_JSON_BYTES:
            raise ModelError(
                f"model {model}: {file.name} has more than {MOST_JSON_BYTES >> 20} MB; it should have a few KB"
            )
        value: Any = json.loads(text)
    except FileNotFoundError as error:
        raise ModelError(
            f"model {model}: {file.parent} has no {file.name}, which says how the model is built"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"model {model}: {file.name} can't be read as JSON ({type(error).__name__}); fetch the model again"
        ) from error
    if not isinstance(value, dict):
        raise ModelError(f"model {model}: {file.name} is no JSON object; fetch the model again")
    return cast("dict[str, JsonValue]", value)


def require_inside(model: str, folder: Path, file: Path) -> Path:
    """The file; ModelError if it is a link to a file outside of the model.

    The hub's cache stores contents beside its snapshots and links to them: `snapshots/COMMIT/x -> ../../blobs/HASH`.
    """
    if not _is_inside(folder, file):
        raise ModelError(f"model {model}: {file.name} is a link out of {folder}; put the file itself into the folder")
    return file


def _is_inside(folder: Path, file: Path) -> bool:
    real, root = file.resolve(), folder.resolve()
    roots = [root, root.parents[1] / "blobs"] if root.parent.name == "snapshots" else [root]
    return any(real.is_relative_to(each) for each in roots)


def content_sha256(files: Iterable[Path], *, named: bool = True) -> str:
    """SHA-256 over the contents of files, and over their names if the library depends on them.

    Equal files in different folders have equal hashes.
    """
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.name) if named else files:
        digest.update(f"{file.name if named else ''} {sha256_of(file)}\n".encode())
    return digest.hexdigest()


def licence_in(folder: Path) -> str | None:
    """The licence in the front matter of a folder's README.md; None if it states none.

    `license: other` is followed by its name, or by the location of its text.
    """
    readme = folder / "README.md"
    if not readme.is_file() or not _is_inside(folder, readme):
        return None
    try:
        with readme.open("rb") as file:
            text = file.read(MOST_README_BYTES).decode("utf-8", errors="replace")
        _, opening, rest = text.partition("---")
        matter: Any = (
            yaml.safe_load(rest.partition("\n---")[0]) if opening and text.lstrip("\ufeff \n").startswith("---") else {}
        )
    except (OSError, yaml.YAMLError, RecursionError):
        return None
    if not isinstance(matter, dict):
        return None
    stated = cast("dict[str, object]", matter)
    first = _text(stated.get("license"))
    if first in {None, "other"}:
        return _text(stated.get("license_name")) or _text(stated.get("license_link")) or first
    return first


def _text(value: object) -> str | None:
    """The texts of a field that may be a list, joined; None if it is empty."""
    values = cast("list[object]", value) if isinstance(value, list) else [value]
    texts = [str(each).strip() for each in values if isinstance(each, str) and each.strip()]
    return ", ".join(texts)[:200] or None
