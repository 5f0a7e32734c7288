"""What the workers of a bulk job import, for a Ray that imports it in each worker as soon as that has started: on another core,
the driver still lists, plans and imports ray.data then.

Ray is told a name of a module, and would end a worker for an error that is no ImportError; here every error is left to the actor,
which imports the same and can report it.
"""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module

from pixelmill.workers.runtime.memory import keep_freed_memory

with suppress(Exception):
    keep_freed_memory()  # before torch allocates
    for name in ("torch", "pixelmill.pipelines.bulk.graph"):
        import_module(name)
