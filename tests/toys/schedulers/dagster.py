"""As much of Dagster as the example of docs/cluster.md uses: an asset is made at once, again by its policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

BEGUN: list[str] = []
"""The name of each asset as often as it was begun."""


@dataclass(frozen=True)
class RetryPolicy:
    max_retries: int = 1
    delay: float | None = None


@dataclass(frozen=True)
class MaterializeResult:
    metadata: Mapping[str, object] = field(default_factory=dict)


class Failure(Exception):
    def __init__(self, description: str, *, allow_retries: bool = True) -> None:
        super().__init__(description)
        self.allow_retries = allow_retries


def asset(retry_policy: RetryPolicy) -> Callable[[Callable[[], Any]], Any]:
    def decorated(function: Callable[[], Any]) -> Any:
        for left in reversed(range(retry_policy.max_retries + 1)):
            BEGUN.append(function.__name__)
            try:
                return function()
            except Failure as failure:
                if not left or not failure.allow_retries:
                    raise
        return None

    return decorated
