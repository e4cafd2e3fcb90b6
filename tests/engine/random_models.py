# SPDX-License-Identifier: GPL-3.0-or-later
"""Small SAM 2 models with seeded random weights, and with mixed masks and object scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor

from sam2_splat_addon.core.footage.sizes import PhotoSizes
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt
from sam2_splat_addon.core.settings import RunSettings
from sam2_splat_addon.engine.models.architectures import build
from sam2_splat_addon.engine.models.device import DeviceChoice, choose_device
from sam2_splat_addon.engine.tracking.plan import plan_object, span_of
from sam2_splat_addon.engine.tracking.results import FrameResult
from sam2_splat_addon.engine.tracking.sam2_adapter import Sam2Adapter
from sam2_splat_addon.engine.tracking.schedule import schedule_for
from sam2_splat_addon.engine.tracking.session import Frames, Session

IMAGE_SIZE = 64
WIDTH, HEIGHT = 160, 96

# If two torch processes use two threads each on two cores, both become many times slower.
torch.set_num_threads(1)

FIRST_CLICK = ObjectPrompts(1, "thing", (FramePrompts(1, (PointPrompt(70.0, 40.0),)),))


@dataclass(frozen=True)
class TensorFrames:
    """Frames that are already tensors, (N, 3, S, S)."""

    tensors: Tensor

    def __len__(self) -> int:
        return len(self.tensors)

    def stream(self, order: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        return ((index, self.tensors[index]) for index in order)


def random_frames(count: int, image_size: int = IMAGE_SIZE) -> TensorFrames:
    """Make smooth coloured noise, different on every frame."""
    generator = torch.Generator().manual_seed(7)
    noise = torch.randn(count, 3, image_size // 8, image_size // 8, generator=generator)
    return TensorFrames(torch.nn.functional.interpolate(noise, (image_size,) * 2, mode="bilinear"))


def random_model(
    name: str, *, image_size: int = IMAGE_SIZE, seed: int = 3, always_seen: bool = False
) -> SAM2Base:
    """Make a model whose masks have both signs. Some frames count as empty, others not.

    With ``always_seen`` no frame counts as empty, so every change shows in the logits.
    """
    torch.manual_seed(seed)
    model = build(name, image_size=image_size)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            # Norms, biases and layer scales start at 0, at 1, or nearly at 0.
            if parameter.ndim == 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
        last = model.sam_mask_decoder.pred_obj_score_head.layers[-1]
        last.weight.mul_(300.0)
        last.bias.fill_(1000.0 if always_seen else 100.0)
        if always_seen:
            return model
        for _ in range(8):  # the frames that count as empty change the memory, and so the scores
            results = propagated(model, random_frames(4, image_size), [FIRST_CLICK])
            scores = sorted(result.scores.object_score for result in results[1:])
            if scores[0] < 0.0 < scores[-1]:
                break
            last.bias.sub_((scores[0] + scores[-1]) / 2)
    return model


def propagated(
    model: SAM2Base,
    frames: Frames,
    objects: Sequence[ObjectPrompts],
    settings: RunSettings = RunSettings(),  # noqa: B008 - frozen
    *,
    max_conditioning: int = 0,
    choice: DeviceChoice | None = None,
) -> list[FrameResult]:
    """Return all results of our session, in the order in which they came."""
    results: list[FrameResult] = []
    span = span_of(settings, len(frames))
    plans = [
        plan_object(
            entry,
            span,
            settings.direction,
            settings.nearby_prompts,
            both_sides=settings.both_sides,
        )
        for entry in objects
    ]
    session = Session(
        Sam2Adapter(model, len(frames)),
        frames,
        PhotoSizes(WIDTH, HEIGHT),
        [schedule_for(plan, plan.results) for plan in plans],
        choice or choose_device("cpu"),
        max_conditioning=max_conditioning,
    )
    session.run(results.append)
    return results
