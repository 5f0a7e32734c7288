"""Decode samples by tasks of a real Ray whose workers hold every CPU: `python -m ... FOLDER` prints what was read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from pixelmill.pipelines.training.broken_samples import BrokenSamples
from pixelmill.pipelines.training.decoding import SampleDecoder, share_of_cluster
from pixelmill.pipelines.training.measuring import SampleBytes
from tests.pipelines.training.sources import Verbatim, numbers, some


class Holder:
    """Holds its CPU, as a worker that trains does."""

    def is_there(self) -> bool:
        return True


def main() -> None:
    import ray

    data, recipe = some(Path(sys.argv[1]), 4), Verbatim()
    api: Any = ray
    api.init(num_cpus=1, include_dashboard=False, log_to_driver=False, configure_logging=False)
    holder = api.remote(Holder).options(num_cpus=1).remote()
    assert api.get(holder.is_there.remote())
    made = SampleDecoder(data, recipe, SampleBytes(1.0, 1), BrokenSamples(data), share_of_cluster(1))  # type: ignore[arg-type]
    read = [numbers([sample])[0] for _, sample in made.read(map(np.array, ([0, 1], [3, 2])), substitutes=True)]
    sys.stdout.write(f"{json.dumps(read)}\n")
    api.shutdown()


if __name__ == "__main__":
    main()
