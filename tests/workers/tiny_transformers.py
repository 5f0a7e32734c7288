"""Small networks of transformers with random weights, saved as folders: one of each kind that is used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as t
from safetensors.torch import save_file

VIT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
MLP = {"intermediate_size": 32}
PYRAMID = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
TEXT = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 50,
    "max_position_embeddings": 8,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
NECK = {"neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8}

Built = tuple[Any, Any, Any]
"""A class of transformers, its config, and its image processor."""


def _swin(**changes: Any) -> Any:
    sizes = {"image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2]}
    return t.SwinConfig(**sizes, window_size=2, out_features=["stage1", "stage2", "stage3", "stage4"], **changes)


def _square() -> Any:
    return t.ViTImageProcessor(size={"height": 32, "width": 32})


def _crop() -> Any:
    return t.CLIPImageProcessor(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32})


def _maps() -> Any:
    return t.SegformerImageProcessor(size={"height": 64, "width": 64})


def _mask2former() -> Any:
    sizes = {"feature_size": 32, "mask_feature_size": 32, "hidden_dim": 32, "encoder_feedforward_dim": 32}
    layers = {"encoder_layers": 1, "decoder_layers": 2, "num_attention_heads": 2, "dim_feedforward": 32}
    return t.Mask2FormerConfig(backbone_config=_swin(), **sizes, **layers, num_queries=6, num_labels=4)


def _maskformer() -> Any:
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    decoder = t.DetrConfig(d_model=32, encoder_layers=1, decoder_layers=1, num_queries=6, **heads)
    sizes = {"fpn_feature_size": 32, "mask_feature_size": 32}
    return t.MaskFormerConfig(backbone_config=_swin(), decoder_config=decoder, **sizes, num_labels=4)


def _depth_anything(**changes: Any) -> Any:
    backbone = t.Dinov2Config(
        **{**VIT, "num_hidden_layers": 4, "image_size": 28, "patch_size": 14},
        out_indices=[1, 2, 3, 4],
        apply_layernorm=True,
        reshape_hidden_states=False,
    )
    head = {"reassemble_hidden_size": 16, "reassemble_factors": [4, 2, 1, 0.5], "head_hidden_size": 8}
    return t.DepthAnythingConfig(backbone_config=backbone, patch_size=14, **NECK, **head, **changes)


def _zoedepth() -> Any:
    backbone = t.BeitConfig(
        **{**VIT, **MLP, "num_hidden_layers": 4, "patch_size": 16},
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
        use_relative_position_bias=True,
    )
    bins = {
        "bottleneck_features": 8,
        "num_relative_features": 8,
        "bin_embedding_dim": 8,
        "num_attractors": [4, 2, 2, 1],
    }
    return t.ZoeDepthConfig(
        backbone_config=backbone, **NECK, **bins, reassemble_factors=[4, 2, 1, 0.5], backbone_hidden_size=16
    )


def _dpt() -> Any:
    sizes = {**VIT, **MLP, "num_hidden_layers": 4, "patch_size": 16}
    return t.DPTConfig(**sizes, backbone_out_indices=[0, 1, 2, 3], **NECK, is_hybrid=False)


def _dpt_processor(size_px: int, **changes: Any) -> Any:
    return t.DPTImageProcessor(size={"height": size_px, "width": size_px}, **changes)


EMBEDS: dict[str, Callable[[], Built]] = {
    "vit": lambda: (t.ViTForImageClassification, t.ViTConfig(**VIT, **MLP, num_labels=5), _square()),
    "deit": lambda: (
        t.DeiTForImageClassification,
        t.DeiTConfig(**VIT, **MLP, num_labels=5),
        t.DeiTImageProcessor(size={"height": 40, "width": 40}, crop_size={"height": 32, "width": 32}),
    ),
    "dinov2": lambda: (t.Dinov2Model, t.Dinov2Config(**VIT), _crop()),
    "dinov2_with_registers": lambda: (t.Dinov2WithRegistersModel, t.Dinov2WithRegistersConfig(**VIT), _crop()),
    "dinov3_vit": lambda: (t.DINOv3ViTModel, t.DINOv3ViTConfig(**VIT, **MLP, num_register_tokens=2), _square()),
    "dinov3_convnext": lambda: (t.DINOv3ConvNextModel, t.DINOv3ConvNextConfig(**PYRAMID), _square()),
    "clip": lambda: (
        t.CLIPModel,
        t.CLIPConfig(text_config=dict(TEXT), vision_config={**VIT, **MLP}, projection_dim=12),
        _crop(),
    ),
    "siglip": lambda: (
        t.SiglipModel,
        t.SiglipConfig(text_config=dict(TEXT), vision_config={**VIT, **MLP}),
        t.SiglipImageProcessor(size={"height": 32, "width": 32}),
    ),
    "convnext": lambda: (
        t.ConvNextForImageClassification,
        t.ConvNextConfig(**PYRAMID, num_labels=5),
        t.ConvNextImageProcessor(size={"shortest_edge": 64}),
    ),
    "resnet": lambda: (
        t.ResNetForImageClassification,
        t.ResNetConfig(embedding_size=8, **PYRAMID, num_labels=5),
        _square(),
    ),
    "swin": lambda: (t.SwinForImageClassification, _swin(num_labels=5), _square()),
}
SEGMENTS: dict[str, Callable[[], Built]] = {
    "segformer": lambda: (
        t.SegformerForSemanticSegmentation,
        t.SegformerConfig(**PYRAMID, num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=16, num_labels=4),
        _maps(),
    ),
    "upernet": lambda: (
        t.UperNetForSemanticSegmentation,
        t.UperNetConfig(
            backbone_config=_swin(),
            hidden_size=16,
            pool_scales=[1, 2],
            auxiliary_in_channels=32,
            auxiliary_channels=8,
            num_labels=4,
        ),
        _maps(),
    ),
    "mask2former": lambda: (
        t.Mask2FormerForUniversalSegmentation,
        _mask2former(),
        t.Mask2FormerImageProcessor(size={"shortest_edge": 64, "longest_edge": 128}),
    ),
    "maskformer": lambda: (t.MaskFormerForInstanceSegmentation, _maskformer(), _maps()),
}
DEPTHS: dict[str, Callable[[], Built]] = {
    "depth_anything": lambda: (
        t.DepthAnythingForDepthEstimation,
        _depth_anything(),
        _dpt_processor(28, keep_aspect_ratio=True, ensure_multiple_of=14),
    ),
    "depth_anything metric": lambda: (
        t.DepthAnythingForDepthEstimation,
        _depth_anything(depth_estimation_type="metric", max_depth=20),
        _dpt_processor(28, keep_aspect_ratio=True, ensure_multiple_of=14),
    ),
    "dpt": lambda: (t.DPTForDepthEstimation, _dpt(), _dpt_processor(32)),
    "glpn": lambda: (
        t.GLPNForDepthEstimation,
        t.GLPNConfig(**PYRAMID, num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=16),
        t.GLPNImageProcessor(),
    ),
    "zoedepth": lambda: (
        t.ZoeDepthForDepthEstimation,
        _zoedepth(),
        t.ZoeDepthImageProcessor(size={"height": 32, "width": 32}, ensure_multiple_of=32),
    ),
}
CLASSIFIES: dict[str, Callable[[], Built]] = {
    "levit": lambda: (
        t.LevitForImageClassificationWithTeacher,
        t.LevitConfig(
            image_size=64,
            hidden_sizes=[16, 16, 16],
            num_attention_heads=[1, 1, 1],
            depths=[1, 1, 1],
            key_dim=[8, 8, 8],
            num_labels=5,
        ),
        t.LevitImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}),
    ),
    "mobilevit": lambda: (
        t.MobileViTForImageClassification,
        t.MobileViTConfig(
            image_size=64, hidden_sizes=[8, 8, 8], neck_hidden_sizes=[8, 8, 8, 8, 8, 8, 16], num_labels=5
        ),
        t.MobileViTImageProcessor(size={"shortest_edge": 72}, crop_size={"height": 64, "width": 64}),
    ),
}
ALL = EMBEDS | SEGMENTS | DEPTHS | CLASSIFIES


def saved(name: str, folder: Path, readme: str | None = None) -> Any:
    """The network behind `name`, with random weights, after it was saved as a folder with its processor."""
    kind, config, processor = ALL[name]()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = kind(config).eval()
    folder.mkdir(parents=True, exist_ok=True)
    network.config.architectures = [kind.__name__]
    network.config.save_pretrained(folder)
    save_file(
        {key: tensor.contiguous().clone() for key, tensor in network.state_dict().items()}, folder / "model.safetensors"
    )
    processor.save_pretrained(folder)
    if readme is not None:
        (folder / "README.md").write_text(readme, encoding="utf-8")
    return network
