"""The laws of folders of models: names that can't change, files that are whole and its own, licences as they are stated."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models import folders
from pixelmill.workers.models.folders import (
    HubName,
    content_sha256,
    fetched,
    fetched_file,
    licence_in,
    read_json,
    require_installed,
    weight_files,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_missing_library_is_named_with_its_install_command() -> None:
    with pytest.raises(
        ModelError, match=r"model hf:x: no_such_package is not installed: pip install 'pixelmill\[hf\]'"
    ):
        require_installed("hf:x", "no_such_package", "hf")


WHOLE = (2).to_bytes(8, "little") + b"{}"
"""A safetensors file without tensors."""


def shards(folder: Path, **weight_map: str) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def test_weights_are_one_file_or_the_shards_of_an_index(tmp_path: Path) -> None:
    shards(tmp_path, a="model-1-of-2.safetensors", b="model-2-of-2.safetensors", c="model-1-of-2.safetensors")
    (tmp_path / "model-1-of-2.safetensors").write_bytes(WHOLE)
    with pytest.raises(ModelError, match=r"model-2-of-2\.safetensors is missing"):
        weight_files("m", tmp_path)
    (tmp_path / "model-2-of-2.safetensors").write_bytes(WHOLE)
    assert [file.name for file in weight_files("m", tmp_path)] == [
        "model-1-of-2.safetensors",
        "model-2-of-2.safetensors",
    ]
    (tmp_path / "model.safetensors").write_bytes(WHOLE)
    assert [file.name for file in weight_files("m", tmp_path)] == ["model.safetensors"]


def test_weights_that_are_cut_are_refused_before_they_are_loaded(tmp_path: Path) -> None:
    shards(tmp_path, a="model-1-of-2.safetensors", b="model-2-of-2.safetensors")
    (tmp_path / "model-1-of-2.safetensors").write_bytes(WHOLE)
    (tmp_path / "model-2-of-2.safetensors").write_bytes(WHOLE[:-1])
    with pytest.raises(ModelError, match=r"model-2-of-2\.safetensors: not a whole safetensors file"):
        weight_files("m", tmp_path)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/model.safetensors", "model.bin"])
def test_an_index_names_nothing_but_safetensors_beside_it(tmp_path: Path, name: str) -> None:
    shards(tmp_path, a=name)
    with pytest.raises(ModelError, match=r"has to name \*\.safetensors files beside it"):
        weight_files("m", tmp_path)


@pytest.mark.parametrize("text", ["[1]", "{", "\xff", "[" * 100_000, '"text"'])
def test_what_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(ModelError, match=r"config\.json (can't be read as JSON|is no JSON object)"):
        read_json("m", tmp_path / "config.json")


def test_a_config_of_many_megabytes_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(1 << 34)
    with pytest.raises(ModelError, match="has more than 16 MB"):
        read_json("m", tmp_path / "config.json")


def test_files_are_what_is_in_them_and_what_they_are_called(tmp_path: Path) -> None:
    for name, text in (("a/x", "1"), ("a/y", "2"), ("b/x", "1"), ("b/y", "2"), ("c/x", "2"), ("c/y", "1")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    a, b, c = ([tmp_path / folder / name for name in "xy"] for folder in "abc")
    assert content_sha256(a) == content_sha256(reversed(b)) != content_sha256(c)
    assert content_sha256(a, named=False) == content_sha256(b, named=False) != content_sha256(c, named=False)


@pytest.mark.parametrize(
    ("readme", "licence"),
    [
        ("---\nlicense: apache-2.0\n---\n# Model", "apache-2.0"),
        ("\ufeff---\r\nlicense: MIT\r\n---\r\n", "MIT"),
        ("---\nlicense: [mit, apache-2.0]\n---\n", "mit, apache-2.0"),
        ("---\nlicense: other\nlicense_name: some-research-licence\n---\n", "some-research-licence"),
        ("---\nlicense: other\nlicense_link: LICENSE.txt\n---\n", "LICENSE.txt"),
        ("---\nlicense: other\n---\n", "other"),
        ("---\ntags: [a]\n---\n", None),
        ("# Model\n---\nlicense: mit\n---\n", None),
        ("---\nlicense: !!python/object/apply:os.getcwd []\n---\n", None),
        ("---\n[" * 5000, None),
        ("", None),
    ],
)
def test_the_licence_is_that_of_the_front_matter(tmp_path: Path, readme: str, licence: str | None) -> None:
    (tmp_path / "README.md").write_text(readme, encoding="utf-8", newline="")
    assert licence_in(tmp_path) == licence


def test_a_folder_without_a_readme_has_no_licence(tmp_path: Path) -> None:
    assert licence_in(tmp_path) is None


class Hub:
    """A hub that counts what is fetched over its network; a folder in the cache may be half of what was asked for."""

    def __init__(self, folder: Path, *, online: bool) -> None:
        self.folder, self.online, self.fetched = folder, online, 0

    def snapshot_download(
        self, repository: str, *, revision: str, allow_patterns: list[str], local_files_only: bool
    ) -> str:
        return str(self._found("", offline=local_files_only))

    def hf_hub_download(self, repository: str, file: str, *, local_files_only: bool = False) -> str:
        return str(self._found(file, offline=local_files_only))

    def _found(self, file: str, *, offline: bool) -> Path:
        from huggingface_hub.errors import LocalEntryNotFoundError

        if offline and not (self.folder / file).exists():
            raise LocalEntryNotFoundError("not in the cache")
        if not offline:
            self.fetched += 1
            if not self.online:
                raise OSError("no route to host")
            self.folder.mkdir(exist_ok=True)
            for name in ("config.json", "model.safetensors"):
                (self.folder / name).touch()
        return self.folder / file


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub(tmp_path / "cache", online=True)
    monkeypatch.setattr(folders, "import_module", lambda _: hub)
    fetched.cache_clear()
    fetched_file.cache_clear()
    return hub


def test_what_the_cache_holds_is_not_fetched_again_and_what_it_half_holds_is(hub: Hub, tmp_path: Path) -> None:
    name, wanted = (
        HubName("some/model", COMMIT),
        (("config.json", "model.safetensors"), (("config.json", "other.json"),)),
    )
    hub.folder.mkdir()
    (hub.folder / "config.json").touch()
    assert fetched("hf:some/model", name, *wanted) == hub.folder
    assert hub.fetched == 1
    fetched.cache_clear()
    assert fetched("hf:some/model", name, *wanted) == hub.folder
    assert fetched_file("timm:some", "some/model", "model.safetensors") == hub.folder / "model.safetensors"
    assert hub.fetched == 1


def test_an_unreachable_hub_gets_advice_on_local_files(hub: Hub) -> None:
    hub.online = False
    with pytest.raises(
        ModelError, match=r"\(OSError: no route to host\); where there is no network put model\.safetensors"
    ):
        fetched_file("timm:some", "some/model", "model.safetensors")
    with pytest.raises(ModelError, match=r"into a folder and name that folder in its place"):
        fetched("hf:some/model", HubName("some/model", COMMIT), ("*.safetensors",), (("config.json",),))


def test_the_real_hub_has_the_functions_that_are_called() -> None:
    import inspect

    import huggingface_hub

    for function, names in (
        (huggingface_hub.snapshot_download, ("revision", "allow_patterns", "local_files_only")),
        (huggingface_hub.hf_hub_download, ("local_files_only",)),
    ):
        assert set(names) <= set(inspect.signature(function).parameters)


def test_a_pipe_is_not_waited_for_and_a_readme_elsewhere_is_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "README.md"):
        os.mkfifo(folder / name)
    with pytest.raises(ModelError, match=r"config\.json is no file"):
        read_json("m", folder / "config.json")
    assert licence_in(folder) is None
    (folder / "README.md").unlink()
    (tmp_path / "secret").write_text("---\nlicense: mit\n---\n")
    (folder / "README.md").symlink_to(tmp_path / "secret")
    assert licence_in(folder) is None
