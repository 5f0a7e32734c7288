"""Keep what a plan says of a stage whose settings are cached, so that the next plan neither imports torch nor builds the network.

A kept plan holds for one configuration, one model, one machine, and as long as the cache of settings says what it said then.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pixelmill.workers.runtime.processor import processor_name
from pixelmill.workers.stages import StageConfig, StageContext

_PACKAGES = ("pixelmill", "torch", "torchvision", "timm", "openvino")
_FORM = 1


class KeptPlan:
    """The lines of one stage on this machine, in a file; nothing is kept for a worker with a GPU or without a cache."""

    def __init__(self, config: StageConfig, identity: Mapping[str, object], context: StageContext) -> None:
        self._folder = context.cache_dir if context.device == "cpu" else None
        options = config.model_dump(mode="json", by_alias=True)
        facts = [context.threads, context.job_images, context.batch_bytes, processor_name()]
        key = json.dumps([_FORM, config.stage, options, identity, facts, _versions()], sort_keys=True, default=str)
        self._name = f"plan-{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"

    def read(self) -> list[str] | None:
        """The lines; None where there are none, or the settings were chosen anew since."""
        if self._folder is None:
            return None
        try:
            kept = json.loads((self._folder / self._name).read_text(encoding="utf-8"))
            settings: str = kept["settings"]
            if kept["digest"] != _digest(self._folder / settings):
                return None
            return [str(line) for line in kept["lines"]]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, lines: Sequence[str], settings: Path) -> None:
        """Keep the lines, which follow from this file of the cache of settings. Without the cache the next plan is made anew."""
        if self._folder is None:
            return
        unfinished = self._folder / f"{self._name}.{os.getpid()}.part"
        with suppress(OSError):
            kept = {"settings": settings.name, "digest": _digest(settings), "lines": list(lines)}
            unfinished.write_text(json.dumps(kept), encoding="utf-8")
            unfinished.replace(self._folder / self._name)


def _digest(settings: Path) -> str:
    return hashlib.sha256(settings.read_bytes()).hexdigest()


def _versions() -> list[str | None]:
    return [_version(name) for name in _PACKAGES]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
