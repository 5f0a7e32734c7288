"""Read what the stages of a job name beside its inputs, such as a painting: once, before anything is started."""

from __future__ import annotations

from collections.abc import Mapping

from pixelmill.jobs.id_keys import read_key
from pixelmill.jobs.places import absolute
from pixelmill.jobs.spec import JobSpec, SourceSpec
from pixelmill.jobs.stage_entries import StageEntry
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.assets import checkpoint_at, file_at
from pixelmill.workers.stages import StageConfig
from pixelmill.workers.stages.assets import AssetFiles, AssetKind


def with_assets(spec: JobSpec, environment: Mapping[str, str]) -> JobSpec:
    """The job with what its stages name in them. ModelError where there is no such file, StoreError for a store's error."""
    if not any(config.assets() for config in spec.configs):
        return spec
    access = _access_of(spec.source_options)
    return spec.model_copy(
        update={"stages": [StageEntry(carrying(entry.config, access, environment)) for entry in spec.stages]}
    )


def _access_of(source: SourceSpec) -> Access:
    """The source's way to a store, with credentials: what it reads without any may be public when the others are not."""
    return Access(source.profile, timeout_s=source.timeout_s, retry_for_s=source.retry_for_s)


def carrying(config: StageConfig, access: Access, environment: Mapping[str, str]) -> StageConfig:
    """The config with the contents of what it names. ModelError where there is no such file."""
    read: dict[str, AssetFiles] = {
        key: _read(kind, getattr(config, key), access, environment) for key, kind in config.assets().items()
    }
    return config.with_assets(read) if read else config


def _read(kind: AssetKind, place: str, access: Access, environment: Mapping[str, str]) -> AssetFiles:
    if kind == "id key":
        return {"key": read_key(place, environment)}
    return (file_at if kind == "file" else checkpoint_at)(absolute(place), access)
