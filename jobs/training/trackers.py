"""Check before a training starts that its trackers can follow it: their packages, and that somebody is logged in.

Packages read their credentials from the environment and the home folder of the worker: of this machine, or of a cluster's node
where run.address names one. Nothing of them is sent with the plan or recorded.
"""

from __future__ import annotations

import netrc
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from pixelmill.pipelines.training.trackers import TrackerName, Tracking
from pixelmill.workers.errors import JobError

PROJECT = "pixelmill"
WANDB_HOST = "https://api.wandb.ai"
OFFLINE = ("offline", "dryrun", "disabled")


def tracking_of(names: Sequence[TrackerName], environment: Mapping[str, str]) -> Tracking:
    """What the workers need to know of the trackers. Raises JobError where one of them can't follow a training."""
    for name in names:
        if name != "tensorboard" and find_spec(name) is None:
            raise JobError(f"run.trackers: {name} is not installed here; pip install 'pixelmill[{name}]'")
    if "wandb" in names:
        _require_login(environment)
    if "mlflow" in names:
        _require_server(environment)
    projects = {
        "wandb": environment.get("WANDB_PROJECT") or PROJECT,
        "mlflow": environment.get("MLFLOW_EXPERIMENT_NAME") or PROJECT,
    }
    is_offline = environment.get("WANDB_MODE", "") in OFFLINE
    return Tracking(
        tuple(dict.fromkeys(names)), {name: projects[name] for name in projects if name in names}, is_offline
    )


def _require_login(environment: Mapping[str, str]) -> None:
    if environment.get("WANDB_MODE", "") in OFFLINE or environment.get("WANDB_API_KEY"):
        return
    host = urlsplit(environment.get("WANDB_BASE_URL") or WANDB_HOST).hostname or ""
    if not _is_in_netrc(host, environment):
        raise JobError(
            f"run.trackers: wandb: nobody is logged in to {host}: run `wandb login`, or set WANDB_API_KEY; WANDB_MODE=offline "
            "keeps the run in the output folder, for `wandb sync`"
        )


def _is_in_netrc(host: str, environment: Mapping[str, str]) -> bool:
    """Whether `wandb login` has stored a key for this host."""
    home = Path(environment.get("HOME") or environment.get("USERPROFILE") or "/")
    stated = environment.get("NETRC")
    for path in [Path(stated)] if stated else [home / ".netrc", home / "_netrc"]:
        try:
            if netrc.netrc(str(path)).authenticators(host) is not None:
                return True
        except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
            continue
    return False


def _require_server(environment: Mapping[str, str]) -> None:
    uri = environment.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        raise JobError(
            "run.trackers: mlflow: no server is named: set MLFLOW_TRACKING_URI, such as http://localhost:5000, or "
            "sqlite:////home/me/mlflow.db for a file of this machine"
        )
    if bool(environment.get("MLFLOW_TRACKING_USERNAME")) != bool(environment.get("MLFLOW_TRACKING_PASSWORD")):
        raise JobError(
            "run.trackers: mlflow: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD belong together; set both or none"
        )
    if uri.startswith("databricks") and not _has_databricks(environment):
        raise JobError(
            "run.trackers: mlflow: nobody is logged in to Databricks: run `databricks configure`, or set DATABRICKS_HOST and "
            "DATABRICKS_TOKEN"
        )


def _has_databricks(environment: Mapping[str, str]) -> bool:
    is_stated = bool(environment.get("DATABRICKS_HOST") and environment.get("DATABRICKS_TOKEN"))
    return is_stated or (Path(environment.get("HOME") or "/") / ".databrickscfg").is_file()
