"""The few calls of Ray that jobs/ makes, with the types that Ray leaves open. The first call imports Ray."""

from __future__ import annotations

from typing import Any, cast


def import_ray() -> None:
    """Import Ray as a whole before any of its submodules. Another thread may be importing Ray. A thread that imports
    `ray.data` at that moment holds the lock of that module and waits for the lock of `ray`; since the other thread
    waits for the first, Python breaks the deadlock and hands out a half-initialized module.
    """
    import ray  # noqa: F401  # pyright: ignore[reportUnusedImport]


def init(**options: object) -> None:
    import ray

    cast("Any", ray).init(**options)


def shutdown() -> None:
    import ray

    cast("Any", ray).shutdown()


def cluster_resources() -> dict[str, float]:
    """All resources of the connected cluster."""
    import ray

    return dict(cast("Any", ray).cluster_resources())


def available_resources() -> dict[str, float]:
    """The resources that are free at this moment."""
    import ray

    return dict(cast("Any", ray).available_resources())
