"""Hand-written loops for each kind of stage: the same network in the settings that the stage chose.

Pictures are decoded in advance and sorted by size, so that every batch is full. The loops do not count, record errors, limit
memory or resume.

Legend: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from pixelmill.workers.codecs import encode
from pixelmill.workers.drawn_classes import nearest_ids
from pixelmill.workers.models.backbones import load_backbone
from pixelmill.workers.models.libraries import load_model, resolve
from pixelmill.workers.models.picture_model import PictureModel
from pixelmill.workers.models.tasks import Task
from pixelmill.workers.runtime.execution import Float32Input
from pixelmill.workers.runtime.folding import folded

Loop = Callable[[Sequence[Tensor]], list[Any]]
"""uint8 pixels CHW of many pictures to what is stored of each."""

PALETTE = [(value, 255 - value, value // 2) for value in range(256)]


def bare_loop(task: Task, model: str, settings: Mapping[str, Any], options: Mapping[str, Any]) -> Loop:
    """A loop for the task with the settings of a stage, from `Stage.settings`."""
    if task == "embed":
        return _embedding(model, settings)
    loaded = load_model(resolve(model, task), task)
    if task == "classify":
        return _classification(loaded, settings, options["top"])
    if task == "synthesize":
        return _synthesis(loaded, settings)
    if task == "upscale":
        loaded = loaded.at_scale(options["scale"])
    forward, finish = _forward(loaded.module, loaded.mean, loaded.std, settings), _FINISH[task]

    def run(pictures: Sequence[Tensor]) -> list[Any]:
        made: list[Any] = []
        for batch in _batches([_resized(pixels_CHW, loaded) for pixels_CHW in pictures], pictures, settings):
            seen_BCHW = torch.stack([seen for seen, _ in batch])
            height, width = seen_BCHW.shape[2:]
            outputs = forward(_padded(seen_BCHW, loaded))
            scale = loaded.size.scale
            for place, (seen_CHW, native_CHW) in enumerate(batch):
                own = _cropped(outputs, place, height * scale, width * scale)
                made.append(finish(own, seen_CHW, native_CHW))
        return made

    return run


def _forward(
    module: nn.Module, mean: Sequence[float], std: Sequence[float], settings: Mapping[str, Any]
) -> Callable[[Tensor], Any]:
    torch.set_num_threads(settings["threads"])
    network = copy.deepcopy(module).eval().requires_grad_(False)
    network = folded(network) if settings["fold_batchnorm"] else network
    layout = torch.channels_last if settings["channels_last"] else torch.contiguous_format
    device, dtype = settings["device"], getattr(torch, settings["precision"])
    network = network.to(device).to(dtype).to(memory_format=layout)
    keeps_float32 = isinstance(module, Float32Input)
    mean_1C11, std_1C11 = (torch.tensor(each).view(1, -1, 1, 1) for each in (mean, std))

    @torch.inference_mode()
    def forward(images_BCHW: Tensor) -> Any:
        images_BCHW = images_BCHW.to(device).to(torch.float32, memory_format=layout)
        normalized_BCHW = (images_BCHW / 255 - mean_1C11) / std_1C11
        return network(normalized_BCHW if keeps_float32 else normalized_BCHW.to(dtype))

    return forward


def _embedding(model: str, settings: Mapping[str, Any]) -> Loop:
    backbone = load_backbone(resolve(model))
    wanted = backbone.preprocess
    forward = _forward(backbone.network.module, wanted.mean, wanted.std, settings)

    def run(pictures: Sequence[Tensor]) -> list[Any]:
        made: list[Any] = []
        for start in range(0, len(pictures), settings["microbatch"]):
            crops = [wanted.applied_to(each) for each in pictures[start : start + settings["microbatch"]]]
            made += list(forward(torch.stack(crops)).float().numpy())
        return made

    return run


def _classification(model: PictureModel, settings: Mapping[str, Any], top: int) -> Loop:
    assert model.preprocess is not None
    wanted = model.preprocess
    forward = _forward(model.module, model.mean, model.std, settings)
    names = model.classes.names if model.classes else ()

    def run(pictures: Sequence[Tensor]) -> list[Any]:
        made: list[Any] = []
        for start in range(0, len(pictures), settings["microbatch"]):
            crops = [wanted.applied_to(each) for each in pictures[start : start + settings["microbatch"]]]
            scores_BT, ids_BT = forward(torch.stack(crops)).float().softmax(1).topk(top)
            rows = zip(ids_BT.tolist(), scores_BT.tolist(), strict=True)
            made += [(ids, [names[each] for each in ids], scores) for ids, scores in rows]
        return made

    return run


def _synthesis(model: PictureModel, settings: Mapping[str, Any]) -> Loop:
    assert model.classes is not None
    assert model.classes.colours is not None
    assert isinstance(model.size.resize_px, tuple)
    colours, size = model.classes.colours, model.size.resize_px
    forward = _forward(model.module, model.mean, model.std, settings)

    def run(pictures: Sequence[Tensor]) -> list[Any]:
        made: list[Any] = []
        for start in range(0, len(pictures), settings["microbatch"]):
            layouts = pictures[start : start + settings["microbatch"]]
            ids = [torch.from_numpy(nearest_ids(each.permute(1, 2, 0).numpy(), colours)[0]) for each in layouts]
            seen_B1HW = torch.stack([F.interpolate(each[None, None], size, mode="nearest-exact")[0] for each in ids])
            for image_3HW, layout_3HW in zip(forward(seen_B1HW), layouts, strict=True):
                native = list(layout_3HW.shape[1:])
                whole_3HW = F.interpolate(image_3HW[None].float(), native, mode="bilinear", align_corners=False)[0]
                made.append(_picture(whole_3HW, layout_3HW, layout_3HW))
        return made

    return run


def _resized(pixels_CHW: Tensor, model: PictureModel) -> Tensor:
    wanted = model.size.resize_px
    pixels_CHW = _in_channels(pixels_CHW, len(model.mean))
    if not isinstance(wanted, tuple):
        return pixels_CHW
    return F.interpolate(pixels_CHW[None], wanted, mode="bilinear", antialias=True)[0]


def _in_channels(pixels_CHW: Tensor, channels: int) -> Tensor:
    if channels == 3:
        return pixels_CHW
    return pixels_CHW.float().mean(0, keepdim=True).byte()


def _batches(
    seen: Sequence[Tensor], native: Sequence[Tensor], settings: Mapping[str, Any]
) -> list[list[tuple[Tensor, Tensor]]]:
    by_size: defaultdict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = defaultdict(list)
    for pair in zip(seen, native, strict=True):
        by_size[tuple(pair[0].shape)].append(pair)
    most = settings["microbatch"]
    return [pairs[start : start + most] for pairs in by_size.values() for start in range(0, len(pairs), most)]


def _padded(images_BCHW: Tensor, model: PictureModel) -> Tensor:
    multiple = model.size.multiple_px
    below, beside = (-side % multiple for side in images_BCHW.shape[2:])
    return F.pad(images_BCHW.float(), (0, beside, 0, below), "reflect") if below or beside else images_BCHW


def _cropped(outputs: Any, place: int, height: int, width: int) -> Any:
    if isinstance(outputs, Tensor):
        own = outputs[place]
        return own[..., :height, :width] if own.dim() == 3 else own
    return [_cropped(each, place, height, width) for each in outputs]


def _mask(logits_KHW: Tensor, seen_CHW: Tensor, native_CHW: Tensor) -> Any:
    confidence_HW, ids_HW = logits_KHW.float().softmax(0).max(0)
    shares = torch.bincount(ids_HW.flatten(), minlength=len(logits_KHW)) / ids_HW.numel()
    ids = ids_HW.byte().numpy()
    return encode.encode_png_palette(ids, PALETTE[: len(logits_KHW)]), shares.tolist(), float(confidence_HW.mean())


def _depth(disparity_1HW: Tensor, seen_CHW: Tensor, native_CHW: Tensor) -> Any:
    size = list(native_CHW.shape[1:])
    values_HW = F.interpolate(disparity_1HW[None].float(), size, mode="bilinear", align_corners=False)[0, 0] * size[1]
    far = float(values_HW.max())
    levels_HW = (values_HW * (65535 / far)).round().to(torch.int32).numpy().astype(np.uint16)
    return encode.encode_png16(levels_HW), far / 65535, float(values_HW.min()), far


def _picture(image_3HW: Tensor, seen_CHW: Tensor, native_CHW: Tensor) -> Any:
    return encode.encode_png_tensor((image_3HW.float().clamp(0, 1) * 255).round().byte())


def _reconstruction(image_CHW: Tensor, seen_CHW: Tensor, native_CHW: Tensor) -> Any:
    error = float((image_CHW.float() - seen_CHW.float() / 255).square().mean())
    size = list(native_CHW.shape[1:])
    whole_CHW = F.interpolate(image_CHW[None].float(), size, mode="bilinear", align_corners=False)[0]
    return _picture(whole_CHW, seen_CHW, native_CHW), error


def _code(outputs: Any, seen_CHW: Tensor, native_CHW: Tensor) -> Any:
    return outputs.float().numpy() if isinstance(outputs, Tensor) else outputs[0].float().numpy()


_FINISH: Mapping[str, Callable[[Any, Tensor, Tensor], Any]] = {
    "segment": _mask,
    "depth": _depth,
    "upscale": _picture,
    "stylize": _picture,
    "reconstruct": _reconstruction,
    "encode": _code,
}
