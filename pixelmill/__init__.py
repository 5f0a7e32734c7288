"""Mill an archive of images in object storage into Parquet: embeddings and latent codes, exactly once."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).resolve().parent
if not (_HERE / "workers").is_dir():
    # A checkout: the three floors are folders beside this one. In a wheel they are below it.
    __path__.append(str(_HERE.parent))
