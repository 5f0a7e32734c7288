"""The decorators of a DAG and of its tasks. A task that raises is begun again `retries` times, but not after a Fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow.sdk.exceptions import AirflowFailException  # pyright: ignore[reportMissingImports]

BEGUN: list[str] = []
"""The name of each task as often as it was begun."""


def dag(**_: object) -> Callable[[Callable[[], None]], Callable[[], None]]:
    return lambda function: function


def task(retries: int = 0) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    def decorated(function: Callable[[], Any]) -> Callable[[], Any]:
        def begun() -> Any:
            for left in reversed(range(retries + 1)):
                BEGUN.append(function.__name__)
                try:
                    return function()
                except AirflowFailException:
                    raise
                except Exception:
                    if not left:
                        raise
            return None

        return begun

    return decorated
