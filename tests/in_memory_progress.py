"""Reports of workers without Ray."""

from __future__ import annotations

from pixelmill.pipelines.progress import ProgressStore


class InMemory(ProgressStore):
    """A store without Ray."""

    def __init__(self) -> None:
        super().__init__("run")
        self.texts: dict[str, str] = {}

    def put(self, key: str, value: str) -> None:
        self.texts[key] = value

    def get(self, key: str) -> str | None:
        return self.texts.get(key)

    def keys(self, prefix: str) -> list[str]:
        return [key for key in self.texts if key.startswith(prefix)]
