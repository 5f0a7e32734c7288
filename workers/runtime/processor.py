"""What the processor of this machine is called in the keys of caches, and whether it has AMX; without torch."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path


def processor_name() -> str:
    """The model and the features of the processor, as a digest where the kernel lists them."""
    picked = _listed()
    if not picked:
        return f"{platform.machine()} {platform.processor()}"
    return hashlib.sha256("".join(sorted(picked.values())).encode()).hexdigest()


def has_amx() -> bool:
    """Whether it multiplies tiles of bfloat16 by an instruction (Intel AMX)."""
    return "amx_bf16" in _listed().get("flags", "").split()


def _listed() -> dict[str, str]:
    """The kernel's lines on model and features, by their names; none where it lists nothing."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return {}
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    return {line.partition(":")[0].strip(): line for line in lines if line.startswith(("model", "flags"))}
