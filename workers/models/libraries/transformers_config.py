"""The config of a model of transformers: its class for a task, without keys that could run code or fetch files.

Imports neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal, cast

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.folders import MOST_NUMBER
from pixelmill.workers.models.normalization import MOST_SIDE_PX
from pixelmill.workers.models.tasks import Task, verb

Gives = Literal["logits", "logit map", "query map", "depth map", "embedding"]

HEADS: dict[str, tuple[Task, Gives, str]] = {
    "ForImageClassification": ("classify", "logits", "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES"),
    "ForImageClassificationWithTeacher": ("classify", "logits", "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES"),
    "ForSemanticSegmentation": ("segment", "logit map", "MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES"),
    "ForUniversalSegmentation": ("segment", "query map", "MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES"),
    "ForInstanceSegmentation": ("segment", "query map", "MODEL_FOR_INSTANCE_SEGMENTATION_MAPPING_NAMES"),
    "ForDepthEstimation": ("depth", "depth map", "MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES"),
}
"""By the suffix of a class name: its task, its output, and the list of such classes in transformers."""

KNOWN_DEPTH = frozenset({"depth_anything", "dpt", "glpn", "zoedepth"})
KNOWN_QUERIES = frozenset({"mask2former", "maskformer"})


@dataclass(frozen=True)
class Encoder:
    """How to build the encoder of a kind of model: its class, and the key of its config within the whole config."""

    architecture: str
    inner: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])


_NO_POOLER = {"add_pooling_layer": False}  # a layer that was trained for another task, or not at all
ENCODERS: dict[str, Encoder] = {
    "clip": Encoder("CLIPVisionModelWithProjection", "vision_config"),
    "clip_vision_model": Encoder("CLIPVisionModelWithProjection"),
    "convnext": Encoder("ConvNextModel"),
    "convnextv2": Encoder("ConvNextV2Model"),
    "deit": Encoder("DeiTModel", arguments=_NO_POOLER),
    "dinov2": Encoder("Dinov2Model"),
    "dinov2_with_registers": Encoder("Dinov2WithRegistersModel"),
    "dinov3_convnext": Encoder("DINOv3ConvNextModel"),
    "dinov3_vit": Encoder("DINOv3ViTModel"),
    "regnet": Encoder("RegNetModel"),
    "resnet": Encoder("ResNetModel"),
    "siglip": Encoder("SiglipVisionModel", "vision_config"),
    "siglip_vision_model": Encoder("SiglipVisionModel"),
    "swin": Encoder("SwinModel"),
    "vit": Encoder("ViTModel", arguments=_NO_POOLER),
}
LEFT_BY_ENCODERS = (
    *("classifier.", "cls_classifier.", "distillation_classifier.", "head.", "lm_head.", "decoder.", "pooler."),
    *("text_model.", "text_projection.", "logit_scale", "logit_bias"),
)
"""Weights of heads and of a text tower, which an encoder may leave unused."""

DROPPED = frozenset(
    {
        *(
            "auto_map",
            "custom_pipelines",
            "attn_implementation",
            "_attn_implementation",
            "_attn_implementation_internal",
        ),
        *("experts_implementation", "_experts_implementation", "_experts_implementation_internal", "kernel_config"),
        *(
            "fusion_config",
            "distributed_config",
            "_name_or_path",
            "name_or_path",
            "dtype",
            "torch_dtype",
            "torchscript",
        ),
        *("transformers_version", "use_pretrained_backbone", "backbone_kwargs", "_commit_hash", "_from_auto"),
    }
)
"""Keys that could name code, native kernels or other files; none is needed to build a network."""
UNUSED = frozenset({"backbone", "backbone_config", "use_timm_backbone"})
"""Keys in the `decoder_config` of a MaskFormer, which is that of a whole DETR; only the decoder is built."""
FOREIGN = frozenset({"timm_backbone", "timm_wrapper"})
MOST_ENTRIES = 1 << 16
SIDES = frozenset({"image_size", "patch_size", "pretrain_image_size"})
"""Keys of sides in pixels: a batch of what the network sees has to fit into memory."""


@dataclass(frozen=True)
class Plan:
    """A model to build for one task, with a safe config."""

    task: Task
    architecture: str
    gives: Gives
    values: Mapping[str, Any]
    listed_in: str | None = None
    inner: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    may_be_left: tuple[str, ...] = ()

    def network_class(self) -> Any:
        """The class of transformers; ModelError if the installed version has none of this kind."""
        import transformers

        kind = str(self.values["model_type"])
        if self.listed_in is not None:
            auto: Any = import_module("transformers.models.auto.modeling_auto")
            listed = getattr(auto, self.listed_in).get(kind, ())
            if self.architecture not in ((listed,) if isinstance(listed, str) else listed):
                raise ModelError(
                    f"the installed transformers {transformers.__version__} has no {self.architecture} for the kind {kind}; "
                    "install the version that the model was made for"
                )
        return getattr(transformers, self.architecture)

    def config(self) -> Any:
        from transformers import CONFIG_MAPPING

        kind: Any = CONFIG_MAPPING[self.values["model_type"]]
        whole = kind.from_dict(dict(self.values))
        if self.inner is None:
            return whole
        inner = getattr(whole, self.inner)
        if hasattr(whole, "projection_dim"):
            inner.projection_dim = whole.projection_dim
        return inner

    def is_metric(self, model: str) -> bool:
        """Whether depth is in metres; ModelError if the config does not state it."""
        kind = self.values["model_type"]
        if kind == "dpt" and _kind_of(self.values.get("backbone_config")) in {"dinov2", "dinov2_with_registers"}:
            raise ModelError(
                f"model {model}: a DPT over DINOv2 may give metres or inverse depth, and its config does not say which; take a "
                "Depth Anything or ZoeDepth model"
            )
        return kind in {"glpn", "zoedepth"} or self.values.get("depth_estimation_type") == "metric"


def plan_of(model: str, config: Mapping[str, Any], task: Task) -> Plan:
    """The model that a config describes for this task; ModelError for another task, or for keys that are not accepted."""
    values = _safe(model, config)
    kind, architectures = values.get("model_type"), values.get("architectures")
    first = cast("list[object]", architectures)[0] if isinstance(architectures, list) and architectures else None
    if not isinstance(kind, str) or not isinstance(first, str):
        raise ModelError(
            f"model {model}: its config.json states no model_type and architectures; take a model of transformers"
        )
    if task == "embed":
        return _encoder(model, kind, first, values)
    head = next((end for end in sorted(HEADS, key=len, reverse=True) if first.endswith(end)), None)
    does, gives, listed_in = HEADS[head] if head else (None, "logits", None)
    if does != task:
        can = [*([verb(does)] if does else []), *(["embed"] if kind in ENCODERS else [])]
        raise ModelError(
            f"model {model}: holds the network {first}, which can't {verb(task)}; it can {', '.join(can) or 'do nothing here'}"
        )
    known = {"depth map": KNOWN_DEPTH, "query map": KNOWN_QUERIES}.get(gives)
    if known is not None and kind not in known:
        raise ModelError(
            f"model {model}: what a {first} gives is not known here; to {verb(task)} take {', '.join(sorted(known))}"
        )
    plan = Plan(task, first, gives, values, listed_in)
    if task == "depth":
        plan.is_metric(model)
    return plan


def _encoder(model: str, kind: str, first: str, values: Mapping[str, Any]) -> Plan:
    if kind not in ENCODERS:
        raise ModelError(f"model {model}: a {first} can't embed here; those that can are {', '.join(sorted(ENCODERS))}")
    found = ENCODERS[kind]
    architecture = first if first == "CLIPVisionModel" else found.architecture
    return Plan("embed", architecture, "embedding", values, None, found.inner, found.arguments, LEFT_BY_ENCODERS)


def _safe(model: str, config: Mapping[str, Any], of: str = "") -> dict[str, Any]:
    """A copy of the keys that size and name the network; ModelError if one names another model or an impossible size."""
    left_out = DROPPED | UNUSED if of == "decoder_config" else DROPPED
    kept = {key: _checked(model, key, value) for key, value in config.items() if key not in left_out}
    if kept.get("quantization_config"):
        raise ModelError(
            f"model {model}: its weights are quantized, which takes libraries of their own; take the original"
        )
    if kept.pop("use_timm_backbone", False) or kept.get("model_type") in FOREIGN:
        raise ModelError(
            f"model {model}: its backbone is a model of timm, which is not loaded inside of another; take another"
        )
    if kept.pop("backbone", None) is not None and not isinstance(kept.get("backbone_config"), dict):
        raise ModelError(
            f"model {model}: its backbone is another model that would be fetched by name; take one with a backbone_config"
        )
    return kept


def _checked(model: str, key: str, value: Any) -> Any:
    if isinstance(value, dict):
        _require_few(model, key, len(cast("dict[str, Any]", value)))
        return _safe(model, cast("dict[str, Any]", value), of=key)
    if isinstance(value, list):
        _require_few(model, key, len(cast("list[Any]", value)))
        return [_checked(model, key, each) for each in cast("list[Any]", value)]
    if key in SIDES and isinstance(value, int | float) and not 1 <= value <= MOST_SIDE_PX:
        raise ModelError(
            f"model {model}: {key} of its config.json is {value}; a side has 1 to {MOST_SIDE_PX} px, so that a batch fits into "
            "memory; take another model"
        )
    if isinstance(value, int | float) and abs(value) > MOST_NUMBER:
        raise ModelError(
            f"model {model}: {key} of its config.json is {value}, larger than any size of a network; fetch it again"
        )
    return value


def _require_few(model: str, key: str, entries: int) -> None:
    if entries > MOST_ENTRIES:
        raise ModelError(f"model {model}: {key} of its config.json has {entries:,} entries; fetch it again")


def _kind_of(config: Any) -> object:
    return cast("dict[str, Any]", config).get("model_type") if isinstance(config, dict) else None
