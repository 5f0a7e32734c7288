"""The id of a run is kept with the training, one for each tracker."""

from __future__ import annotations

from pathlib import Path

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training.trackers.run_ids import store_id, stored_id


def test_an_id_is_found_again_and_belongs_to_one_tracker(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path), Access())
    assert stored_id(folder, "wandb") is None
    store_id(folder, "wandb", "abc")
    assert stored_id(folder, "wandb") == "abc"
    assert stored_id(folder, "mlflow") is None
