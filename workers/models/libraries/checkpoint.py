"""Our checkpoints: a file with its card beside it, a folder that training wrote, or the name of one that ships."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.adapters import adapter, kind_of, tasks_of
from pixelmill.workers.models.depth_facts import facts_of_stereo
from pixelmill.workers.models.file_contents import require_finite_weights, sha256_of
from pixelmill.workers.models.folders import read_json
from pixelmill.workers.models.loaded_checkpoint import Checkpoint
from pixelmill.workers.models.model_names import ModelName, checkpoint_files, did_you_mean
from pixelmill.workers.models.safetensors_header import require_whole
from pixelmill.workers.models.stated_classes import classes_in
from pixelmill.workers.models.tasks import WITH_CLASSES, Task, verb
from pixelmill.workers.models.zoo import ZOO
from pixelmill.workers.small_files import small_text

OF_CT = frozenset({"ct-autoencoder", "ct-finetuned"})
"""Networks of CT slices, which take Hounsfield units and can embed; their cards have the normalisation."""
ENCODING = OF_CT | frozenset({"autoencoder", "vae", "fcn", "segnet", "unet", "monodepth", "finetuned"})
"""Networks that can embed: they have an encoder, which `networks/finetuned.py` takes."""
CODING = frozenset({"autoencoder", "vae"})
"""Networks whose encoder ends in a latent code."""

if TYPE_CHECKING:
    from torch import nn

    from pixelmill.workers.models.picture_model import PictureModel
    from pixelmill.workers.models.preprocess import Pooling, Preprocess


def resolve(model: str, rest: str, task: Task) -> ModelName:
    if rest.endswith((".pt", ".pth", ".ckpt", ".bin", ".pkl")):
        raise ModelError(
            f"model {model}: a pickle can run code when it is loaded, so none is; convert it once with "
            "safetensors.torch.save_file(state_dict, 'model.safetensors') and write a card beside it"
        )
    if rest.endswith(".safetensors") or (rest.strip() and Path(rest).is_dir()):
        return _file(model, Path(rest), task)
    return _zoo(model, task)


def load(name: ModelName, task: Task) -> PictureModel:
    from pixelmill.workers.models.checkpoint import load_checkpoint

    assert name.path is not None
    assert name.sha256 is not None
    module, card = load_checkpoint(name.path)
    network = kind_of(card.network, card.config)
    _refuse_other_task(name.name, network, task)
    return adapter(network, task)(Checkpoint(name.name, module, card, name.sha256))


def encoder(name: ModelName, layer: str | None, pooling: Pooling) -> tuple[nn.Module, Preprocess]:
    """The encoder of one of our networks: up to its last feature map, an autoencoder's code (`layer: code`), or another layer.

    `pooling: auto` takes mean and deviation over space of a feature map, and the mean of the posterior for a VAE. For an
    autoencoder the best choice depends on the use (workers/zoo/README.md has the figures of autoencoder-photos): the nearest
    neighbour of a crop is another crop of the same photograph in 95 % by mean and deviation of the feature map and in 71 % by
    the code; that of a photograph has its category in 23 % and 40 %. The default finds the same picture again.
    """
    from torch import nn

    from pixelmill.workers.models.checkpoint import load_checkpoint
    from pixelmill.workers.models.encoders import Code, features_of, layers_of, trained_input, up_to_module
    from pixelmill.workers.models.features import FeaturePooling

    assert name.path is not None
    module, card = load_checkpoint(name.path)
    if card.network in OF_CT:
        from pixelmill.workers.models.ct_encoders import ct_encoder

        return ct_encoder(name.name, module, layer)
    if card.network not in ENCODING:
        raise ModelError(_cannot(name.name, card.network, "embed"))
    try:
        preprocess = trained_input(card, module)
    except ModelError as error:
        raise ModelError(f"model {name.name}: {error}") from error
    has_code = card.network in CODING
    if layer == "code" or (layer is None and card.network == "vae"):
        if not has_code:
            raise ModelError(f"model {name.name}: a {card.network} has no code; name another layer, or none")
        return Code(module), preprocess
    if layer is not None:
        return up_to_module(layers_of(card.network, module), layer, f"model {name.name}"), preprocess
    features = features_of(card.network, module)
    return (nn.Sequential(features, FeaturePooling("stats")) if pooling == "auto" else features), preprocess


def licence(name: ModelName) -> str | None:
    """The licence of the training data; a card without one is reported when the network is loaded."""
    from pixelmill.workers.models.card import read_card

    assert name.path is not None
    return read_card(name.path).data_licence or None


def _file(model: str, path: Path, task: Task) -> ModelName:
    weights, card = checkpoint_files(path)
    if not weights.is_file():
        raise ModelError(f"model {model}: no such file; a checkpoint is NAME.safetensors with NAME.json beside it")
    if not card.is_file():
        raise ModelError(
            f"model {model}: its card {card.name} is missing beside {weights.name}; it describes how to build the network"
        )
    written = read_json(model, card)
    _require_task(model, written, task)
    require_whole(weights)
    require_finite_weights([weights])
    sha256 = sha256_of(weights)
    depth = facts_of_stereo(str(written.get("data", ""))) if task == "depth" else None
    classes = classes_in(written) if task in WITH_CLASSES else None
    return ModelName("file", path.stem, None, path.resolve(), sha256, _network_of(written), depth, classes)


def _require_task(model: str, written: Mapping[str, Any], task: Task) -> None:
    """ModelError if the card's network can't do the task, or the card names none."""
    network = _network_of(written)
    if network is None:
        raise ModelError(f"model {model}: its card names no network; take the card that came with the weights")
    _refuse_other_task(model, network, task)
    if _takes_volumes(written) and not (network in OF_CT and task == "embed"):
        raise ModelError(f"model {model}: its {network} takes volumes, and stages take pictures; take one with dims 2")


def _refuse_other_task(model: str, network: str, task: Task) -> None:
    if task not in _tasks_of(network):
        raise ModelError(_cannot(model, network, task))


def _cannot(model: str, network: str, task: Task) -> str:
    can = ", ".join(map(verb, sorted(_tasks_of(network))))
    next_step = f"it can {can}" if can else "take another model"
    return f"model {model}: holds the network {network}, which can't {verb(task)}; {next_step}"


def _tasks_of(network: str) -> set[Task]:
    embedding: set[Task] = {"embed"} if network.partition(" ")[0] in ENCODING else set()
    return tasks_of(network) | embedding


def _does(card: Path, task: Task) -> bool:
    written = _written(card)
    return written is not None and task in _tasks_of(_network_of(written) or "")


def _written(card: Path) -> dict[str, Any] | None:
    """The JSON of a card; None if it can't be read."""
    try:
        written: Any = json.loads(small_text(card))
    except (OSError, ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", written) if isinstance(written, dict) else None


def _network_of(written: Mapping[str, Any]) -> str | None:
    """The kind of network that a card describes; None if it states none."""
    network, config = written.get("network"), written.get("config")
    options = cast("dict[str, Any]", config) if isinstance(config, dict) else {}
    return kind_of(network, options) if isinstance(network, str) else None


def _takes_volumes(written: Mapping[str, Any]) -> bool:
    config = written.get("config")
    return isinstance(config, dict) and cast("dict[str, Any]", config).get("dims") == 3


def _zoo(model: str, task: Task) -> ModelName:
    if (ZOO / f"{model}.safetensors").is_file():
        return _file(model, ZOO / f"{model}.safetensors", task)
    ours = sorted(path.stem for path in ZOO.glob("*.safetensors") if _does(path.with_suffix(".json"), task))
    raise ModelError(
        f"model {model}: unknown{did_you_mean(model, ours)}; write torchvision:NAME, torchvision:NAME/WEIGHTS, "
        "hf:FOLDER, hf:NAME@COMMIT, open_clip:ARCHITECTURE/WEIGHTS, spandrel:FILE.safetensors, onnx:FILE.onnx, "
        f"timm:NAME, FILE.safetensors, or one of ours: {', '.join(ours) or 'none does this'}"
    )
