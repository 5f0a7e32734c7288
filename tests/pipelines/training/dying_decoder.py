"""Decode samples by tasks of a real Ray, of which one ends its process: `python -m ... FOLDER` prints what was read."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from pixelmill.pipelines.training.broken_samples import BrokenSamples
from pixelmill.pipelines.training.decoding import SampleDecoder, share_of_cluster
from pixelmill.pipelines.training.measuring import SampleBytes
from pixelmill.workers.recipes import Sample
from tests.pipelines.training.sources import Verbatim, numbers, some

WINDOWS = ([0, 1], [3, 2])


class Dies(Verbatim):
    """Ends its process on sample 3."""

    def decode(self, files: dict[str, bytes]) -> Sample:
        if files["image"] == b"3":
            os._exit(3)
        return super().decode(files)


def main() -> None:
    import ray

    data, recipe = some(Path(sys.argv[1]), 6, 2), Dies()
    api: Any = ray
    api.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    made = SampleDecoder(data, recipe, SampleBytes(1.0, 1), BrokenSamples(data, 1.0), share_of_cluster(1))  # type: ignore[arg-type]
    read = [numbers([sample])[0] for _, sample in made.read(map(np.array, WINDOWS), substitutes=True)]
    errors = {index: error.error_type for index, error in made.broken.errors.items()}
    sys.stdout.write(f"{json.dumps([read, errors])}\n")
    api.shutdown()


if __name__ == "__main__":
    main()
