"""What the processor of this machine is called in the keys of caches; without torch."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path


def processor_name() -> str:
    """The model and the features of the processor, as a digest where the kernel lists them."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return f"{platform.machine()} {platform.processor()}"
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    picked = {line.partition(":")[0].strip(): line for line in lines if line.startswith(("model", "flags"))}
    return hashlib.sha256("".join(sorted(picked.values())).encode()).hexdigest()
