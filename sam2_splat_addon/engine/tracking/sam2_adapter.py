# SPDX-License-Identifier: GPL-3.0-or-later
"""SAM 2's steps on one frame and one object, with sam2's own modules.

Upstream's `SAM2VideoPredictor` mixes these steps with the records of its session. It loses
corrections, and its memory grows with the footage. Here is only the arithmetic, in upstream's
order. `session.py` decides the order of the calls.
"""

from __future__ import annotations

import dataclasses
from collections.abc import MutableMapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor
from torch.nn import functional as F

from ..models.bundled_model import LiteSAM2
from .kept_prompts import in_turn, keep_prompts, squared_distances
from .memory_bank import FrameMemory, MemoryBank
from .prompt_tensors import INCLUDE, PromptTensors
from .wrong_things import Thing, only_excludes, without_wrong_things

# Upstream limits earlier logits to this before it feeds them back with new clicks.
_LOGIT_BOUND = 32.0
# SAM2Base turns a mask prompt into logits with these (its _use_mask_as_output).
_MASK_SCALE, _MASK_BIAS = 20.0, -10.0
# The weight of a turn's answer beside the one before. So a click changes less of what was right. After a
# few clicks most of the mask is right, so from then on a click changes little that is far from it.
_NEW = 0.6
_NEW_FAR_AWAY = 0.2
_FEW = 2  # clicks
_ABSENT = -10.0  # object score where clicks took all away
_REACH = 10 / 128  # of the photo's side: how far a click's answer counts

Turns = MutableMapping[bytes, Tensor]
"""The prompts up to a click -> the logits that answered them, on one photo in one view."""


@dataclass(frozen=True)
class ImageFeatures:
    """One encoded image, shared by all objects.

    Attributes
    ----------
    maps, positions
        Feature maps and their position encodings, fine to coarse, each (h * w, 1, C).
    sizes
        (h, w) of each.
    """

    maps: list[Tensor]
    positions: list[Tensor]
    sizes: list[tuple[int, int]]


@dataclass(frozen=True)
class Prediction:
    """The mask decoder's answer for one object on one frame.

    Attributes
    ----------
    logits
        (1, 1, S / 4, S / 4) float32, or finer after a closer look.
    logits_at_input
        (1, 1, S, S) float32. For a mask prompt it is the mask itself.
    pointer
        (1, C).
    object_score
        (1, 1), positive when the object is seen.
    predicted_iou
        The model's estimate for the chosen mask.
    rejects
        Whether exclude clicks took away all that was tracked; see `wrong_things`.
    """

    logits: Tensor
    logits_at_input: Tensor
    pointer: Tensor
    object_score: Tensor
    predicted_iou: float
    rejects: bool = False


class Sam2Adapter:
    """The steps of one model over footage of ``frame_count`` frames.

    Attributes
    ----------
    keeps_prompts
        Whether answers are changed until they agree with the user's prompts; see `kept_prompts`.
        None as an argument: only for the bundled model.
    takes_turns
        Whether the model is asked after each click of a photo, with its answer to the clicks
        before. It is only the bundled model, which has learned that.
    """

    def __init__(
        self, model: SAM2Base, frame_count: int, *, keeps_prompts: bool | None = None
    ) -> None:
        self.model = model
        self.frame_count = frame_count
        # SAM 2.1 nearly always obeys clicks, and its answers are better than those of a rule.
        self.takes_turns = isinstance(model, LiteSAM2)
        self.keeps_prompts = self.takes_turns if keeps_prompts is None else keeps_prompts

    def encode(self, frame: Tensor) -> ImageFeatures:
        """Encode one frame, (3, S, S) normalised."""
        image = frame.to(self.model.device).float().unsqueeze(0)  # (1, 3, S, S)
        _, maps, positions, sizes = self.model._prepare_backbone_features(
            self.model.forward_image(image)
        )
        return ImageFeatures(maps, positions, sizes)

    def condition(
        self,
        index: int,
        image: ImageFeatures,
        prompts: PromptTensors,
        turns: Turns | None = None,
    ) -> Prediction:
        """Segment from prompts alone, without memory.

        A mask alone becomes the result unchanged. With points or a box, they correct it like
        earlier logits.

        Parameters
        ----------
        index
            Of the frame, from 0.
        image
            The photo.
        prompts
            Of one object on it.
        turns
            Answers that are known, for the model that takes turns. New ones are added.
        """
        points, mask, before = prompts.points, prompts.mask, None
        if points is not None and mask is not None:
            before = F.interpolate(
                mask * _MASK_SCALE + _MASK_BIAS,
                size=self.model.sam_prompt_encoder.mask_input_size,
                mode="bilinear",
                align_corners=False,
                antialias=True,
            )  # (1, 1, S / 4, S / 4)
            mask, turns = None, None
        return self._predict(
            index, image, points, mask, None, before=before, reverse=False, turns=turns
        )

    def track(
        self, index: int, image: ImageFeatures, bank: MemoryBank, *, reverse: bool
    ) -> Prediction:
        """Segment from memory alone."""
        return self._predict(index, image, None, None, bank, before=None, reverse=reverse)

    def correct(
        self,
        index: int,
        image: ImageFeatures,
        bank: MemoryBank,
        prompts: PromptTensors,
        tracked: Prediction,
        *,
        reverse: bool,
    ) -> Prediction:
        """Refine a tracked frame by points, from memory, the tracked logits and the points together.

        With the bundled model, an exclude click in the middle of another thing takes all of it away
        first. If nothing is left, the subject is not on the photo.
        """
        points, left, side = prompts.points, tracked.logits, self.model.image_size
        if self.takes_turns and points is not None:
            thing_at = partial(self._thing_at, index, image)
            left = without_wrong_things(left, points, side, thing_at)
        taken = left is not tracked.logits
        if taken and points is not None and only_excludes(points) and not bool((left > 0).any()):
            return Prediction(
                left,
                F.interpolate(left, size=(side, side), mode="bilinear", align_corners=False),
                self.model.no_obj_ptr.detach().expand_as(tracked.pointer).clone(),  # it is saved
                torch.full_like(tracked.object_score, _ABSENT),
                tracked.predicted_iou,
                rejects=True,
            )
        before = torch.clamp(left, -_LOGIT_BOUND, _LOGIT_BOUND)
        found = self._predict(index, image, points, None, bank, before=before, reverse=reverse)
        rejects = taken and not bool((found.logits > 0).any())
        return dataclasses.replace(found, rejects=rejects)

    def _thing_at(self, index: int, image: ImageFeatures, place: Tensor) -> Thing:
        """Return what an include click alone, (1, 1, 2), selects."""
        labels = torch.full(place.shape[:2], INCLUDE, dtype=torch.int32, device=place.device)
        points = {"point_coords": place, "point_labels": labels}
        found = self._predict(index, image, points, None, None, before=None, reverse=False)
        return found.logits, found.predicted_iou

    def refine_from_logits(
        self,
        index: int,
        image: ImageFeatures,
        prompts: PromptTensors,
        before: Tensor,
        *,
        advice: bool,
    ) -> Prediction:
        """Segment from points and earlier logits, (1, 1, S / 4, S / 4), without memory, in one turn.

        With ``advice`` the points are only hints, because not all of them are from the user.
        """
        before = torch.clamp(before, -_LOGIT_BOUND, _LOGIT_BOUND)
        return self._predict(
            index, image, prompts.points, None, None, before=before, reverse=False,
            one_turn="hints" if advice else "clicks",
        )  # fmt: skip

    def _predict(
        self,
        index: int,
        image: ImageFeatures,
        points: dict[str, Tensor] | None,
        mask: Tensor | None,
        bank: MemoryBank | None,
        *,
        before: Tensor | None,
        reverse: bool,
        one_turn: Literal["clicks", "hints"] | None = None,
        turns: Turns | None = None,
    ) -> Prediction:
        """Get the model's answer. If prompts are kept, the points change it where they are missed.

        A model that takes turns gets the points one after the other, or all in ``one_turn``. If
        they are only hints, they change nothing.
        """
        keeps = self.keeps_prompts and one_turn != "hints"
        asked: list[dict[str, Tensor] | None] = [points]
        if points is not None and self.takes_turns and one_turn is None:
            asked = [*in_turn(points, known=before is not None)]
        turns = {} if turns is None else turns
        known = [at for at in range(len(asked) - 1) if _key(asked[at]) in turns]
        first = known[-1] + 1 if known else 0
        if known:
            before = turns[_key(asked[first - 1])]
        _, outputs, finer, embedding = self.model._track_step(
            frame_idx=index,
            is_init_cond_frame=bank is None,
            current_vision_feats=image.maps,
            current_vision_pos_embeds=image.positions,
            feat_sizes=image.sizes,
            point_inputs=asked[first],
            mask_inputs=mask,
            output_dict=None if bank is None else bank.output_dict(index),
            num_frames=self.frame_count,
            track_in_reverse=reverse,
            prev_sam_mask_logits=before,
        )
        found = self._agreeing(
            outputs, asked[first], embedding, before if first else None, keeps=keeps
        )
        for earlier, turn in pairwise(asked[first:]):
            before = torch.clamp(found.logits, -_LOGIT_BOUND, _LOGIT_BOUND)
            turns[_key(earlier)] = before
            outputs = self.model._forward_sam_heads(
                backbone_features=embedding,
                point_inputs=turn,
                mask_inputs=before,
                high_res_features=finer,
            )
            found = self._agreeing(outputs, turn, embedding, before, keeps=keeps)
        turns[_key(asked[-1])] = torch.clamp(found.logits, -_LOGIT_BOUND, _LOGIT_BOUND)
        return found

    def _agreeing(
        self,
        outputs: tuple[Tensor, ...],
        points: dict[str, Tensor] | None,
        embedding: Tensor,
        before: Tensor | None,
        *,
        keeps: bool,
    ) -> Prediction:
        """Return an answer of the model, between it and the one ``before`` if this is a later turn.

        If it ``keeps`` prompts, it is changed where it misses these points.
        """
        _, _, ious, logits, logits_at_input, pointer, object_score = outputs
        side = self.model.image_size
        changed = logits
        if before is not None:
            share = _NEW if points is None else _weights_of_new(points, before, side)
            changed = before + share * (torch.clamp(logits, -_LOGIT_BOUND, _LOGIT_BOUND) - before)
        if points is not None and keeps:
            changed = keep_prompts(changed, points, embedding, side)
        if changed is not logits:
            logits_at_input = F.interpolate(
                changed, size=(side, side), mode="bilinear", align_corners=False
            )
        # If there are several masks, the decoder chooses the one with the highest estimate.
        return Prediction(changed, logits_at_input, pointer, object_score, float(ious.max()))

    def remember(
        self, image: ImageFeatures, prediction: Prediction, *, from_user: bool
    ) -> tuple[FrameMemory, Tensor]:
        """Encode a prediction into a memory.

        A frame that the user prompted is encoded as a hard mask, from the logits that become the
        matte. A tracked frame is encoded by its probabilities.

        Returns
        -------
        tuple
            The memory, and the position encoding (1, M, h, w). That is the same for all memories.
        """
        masks = prediction.logits_at_input
        if from_user:
            side = self.model.image_size
            masks = F.interpolate(
                prediction.logits, size=(side, side), mode="bilinear", align_corners=False
            )  # (1, 1, S, S)
        features, positions = self.model._encode_new_memory(
            current_vision_feats=image.maps,
            feat_sizes=image.sizes,
            pred_masks_high_res=masks,
            object_score_logits=prediction.object_score,
            is_mask_from_pts=from_user,
        )
        return FrameMemory(features.to(torch.bfloat16), prediction.pointer), positions[-1]


def _weights_of_new(points: dict[str, Tensor], before: Tensor, side: int) -> Tensor | float:
    """Return how much the answer to the last of some clicks counts, for all places or (h, w).

    Parameters
    ----------
    points
        As sam2 takes them, of one object: pixels of the model's square input.
    before
        (1, 1, h, w), the answer to the clicks before.
    side
        Side of that input, px.
    """
    labels = points["point_labels"]
    if int(((labels == 0) | (labels == 1)).sum()) <= _FEW:
        return _NEW
    last = points["point_coords"][0, -1:]  # (1, 2)
    away = squared_distances(last, before.shape[-2:], side)[0]  # (h, w)
    return _NEW_FAR_AWAY + (_NEW - _NEW_FAR_AWAY) * torch.exp(-away / _REACH**2)


def _key(points: dict[str, Tensor] | None) -> bytes:
    """Return bytes that tell these points from all others."""
    parts = () if points is None else (points["point_coords"], points["point_labels"])
    return b"".join(part.cpu().numpy().tobytes() for part in parts)
