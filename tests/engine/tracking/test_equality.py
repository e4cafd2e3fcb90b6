# SPDX-License-Identifier: GPL-3.0-or-later
"""Our session against sam2's own `SAM2VideoPredictor`: the same logits, bit for bit.

This also holds when its user prompts, propagates, clicks on a later frame, and propagates from
there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from sam2.build_sam import build_sam2_video_predictor
from sam2.modeling.sam2_base import SAM2Base

from sam2_splat_addon.core.prompts import (
    BoxPrompt,
    FramePrompts,
    MaskPrompt,
    ObjectPrompts,
    PointPrompt,
)
from sam2_splat_addon.core.settings import RunSettings
from sam2_splat_addon.engine.models.architectures import OFFICIAL_CONFIGS
from sam2_splat_addon.engine.tracking.results import FrameResult

from ..random_models import HEIGHT, IMAGE_SIZE, WIDTH, propagated, random_frames, random_model

_TINY = "sam2.1_hiera_tiny"
_CONFIGS = tuple(OFFICIAL_CONFIGS)

_model = cache(random_model)


def _upstream(name: str, **settings: Any) -> Any:
    """Build upstream's predictor with the same weights, as upstream builds it."""
    overrides = [f"++model.{key}={value}" for key, value in settings.items()]
    predictor = build_sam2_video_predictor(
        f"configs/sam2.1/{OFFICIAL_CONFIGS[name]}",
        device="cpu",
        hydra_overrides_extra=[f"++model.image_size={IMAGE_SIZE}", *overrides],
    )
    predictor.load_state_dict(_model(name).state_dict())
    predictor.fill_hole_area = 0  # it can't do this on a CPU, and would warn on every frame
    predictor.add_all_frames_to_correct_as_cond = True  # otherwise it tracks over corrections
    return predictor


_predictor = cache(_upstream)


def _upstream_state(predictor: Any, frames: Any) -> dict[str, Any]:
    """`SAM2VideoPredictor.init_state` for frames that are already tensors."""
    original = "sam2.sam2_video_predictor.load_video_frames"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(original, lambda **_: (frames.tensors, HEIGHT, WIDTH))
        state: dict[str, Any] = predictor.init_state("tensors")
    return state


def _prompt_upstream(predictor: Any, state: dict[str, Any], prompts: ObjectPrompts) -> None:
    for entry in prompts.frames:
        if entry.mask is not None:
            mask = entry.mask.to_array()
            predictor.add_new_mask(state, entry.frame - 1, prompts.id, mask)
            continue
        # Its coordinates are pixel indices, ours count from a pixel's edge; see prompt_tensors.py.
        scale = torch.tensor([WIDTH, HEIGHT])
        points = torch.tensor([[p.x, p.y] for p in entry.points], dtype=torch.float32)
        points = (points.reshape(-1, 2) / scale * IMAGE_SIZE - 0.5) / IMAGE_SIZE
        labels = torch.tensor([int(p.include) for p in entry.points], dtype=torch.int32)
        box = None
        if entry.box is not None:
            b = entry.box
            box = torch.tensor([[b.x0, b.y0], [b.x1, b.y1]], dtype=torch.float32)
            box = (box / scale * IMAGE_SIZE - 0.5) / IMAGE_SIZE
        predictor.add_new_points_or_box(
            state, entry.frame - 1, prompts.id, points, labels, box=box, normalize_coords=False
        )


_Output = tuple[np.ndarray[Any, np.dtype[np.float32]], float]


def _upstream_outputs(
    predictor: Any, frames: Any, objects: Sequence[ObjectPrompts], *, reverse: bool = False
) -> dict[tuple[int, int], _Output]:
    """Map (object id, frame) to the low-resolution logits and object score of a new upstream session."""
    state = _upstream_state(predictor, frames)
    for prompts in objects:
        _prompt_upstream(predictor, state, prompts)
    for _ in predictor.propagate_in_video(state, reverse=reverse):
        pass
    return _outputs(state)


def _corrected_upstream(
    predictor: Any, frames: Any, objects: Sequence[ObjectPrompts], *, reverse: bool = False
) -> dict[tuple[int, int], _Output]:
    """The same for a user who prompts, propagates, and then corrects one frame after the other.

    Before anything is propagated, the first prompts, the masks, and the frames that start anew are
    given. All prompts of a corrected frame come at once. Then the user propagates from there.
    """
    state = _upstream_state(predictor, frames)
    order = sorted({at.frame for thing in objects for at in thing.frames}, reverse=reverse)
    corrected: set[int] = set()
    for thing in objects:
        first = (max if reverse else min)(at.frame for at in thing.frames)
        known = [at for at in thing.frames if at.frame == first or at.mask or at.anew]
        corrected |= {at.frame for at in thing.frames if at not in known}
        _prompt_upstream(predictor, state, replace(thing, frames=tuple(known)))
    for start in [order[0], *(frame for frame in order if frame in corrected)]:
        if start != order[0]:
            for thing in objects:
                here = tuple(at for at in thing.frames if at.frame == start and not at.anew)
                _prompt_upstream(predictor, state, replace(thing, frames=here))
        for _ in predictor.propagate_in_video(state, start_frame_idx=start - 1, reverse=reverse):
            pass
    return _outputs(state)


def _outputs(state: dict[str, Any]) -> dict[tuple[int, int], _Output]:
    outputs: dict[tuple[int, int], _Output] = {}
    for at, per_object in state["output_dict_per_obj"].items():
        for group in per_object.values():
            for index, out in group.items():
                logits = out["pred_masks"][0, 0].numpy()
                key = (state["obj_idx_to_id"][at], index + 1)
                outputs[key] = (logits, float(out["object_score_logits"]))
    return outputs


def _assert_equal(
    ours: Sequence[FrameResult], upstream: dict[tuple[int, int], _Output], expected: int
) -> None:
    assert len(ours) == expected
    assert {(r.object_id, r.frame) for r in ours} <= upstream.keys()
    for result in ours:
        logits, score = upstream[result.object_id, result.frame]
        where = f"object {result.object_id}, frame {result.frame}"
        np.testing.assert_array_equal(result.logits, logits, err_msg=where)
        assert result.scores.object_score == score, where


def _mask() -> MaskPrompt:
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    return MaskPrompt.from_array((rows - 50) ** 2 + (columns - 80) ** 2 < 30**2)


def _points(frame: int, *, more: bool = True) -> FramePrompts:
    points = (PointPrompt(70.5, 40.25), PointPrompt(30.0, 70.0, include=False))
    return FramePrompts(frame, points if more else points[:1])


def _box(frame: int) -> FramePrompts:
    return FramePrompts(frame, box=BoxPrompt(20.0, 10.0, 120.0, 80.5))


def _box_and_point(frame: int) -> FramePrompts:
    return FramePrompts(frame, (PointPrompt(60.0, 60.0),), BoxPrompt(20.0, 10.0, 120.0, 80.5))


def _excluding(frame: int) -> FramePrompts:
    return FramePrompts(frame, (PointPrompt(30.0, 70.0, include=False),))


def _anew(prompts: FramePrompts) -> FramePrompts:
    """The frames that are segmented from their prompts alone, wherever they come."""
    return replace(prompts, anew=True)


def _object(object_id: int, *frames: FramePrompts) -> ObjectPrompts:
    return ObjectPrompts(object_id, f"object {object_id}", frames)


@pytest.mark.parametrize("name", _CONFIGS)
def test_points_box_and_mask_on_the_first_frame_forwards(name: str) -> None:
    frames = random_frames(4)
    objects = [
        _object(1, _points(1, more=False)),
        _object(2, _box_and_point(1)),
        _object(3, FramePrompts(1, mask=_mask())),
    ]
    ours = propagated(_model(name), frames, objects)
    _assert_equal(ours, _upstream_outputs(_predictor(name), frames, objects), 12)
    # Equal masks prove little if all of them are empty or full.
    assert any(0.02 < result.scores.area < 0.98 for result in ours)
    scores = [result.scores.object_score for result in ours]
    assert min(scores) < 0.0 < max(scores)


@pytest.mark.parametrize("name", _CONFIGS)
def test_points_and_mask_on_the_last_frame_backwards(name: str) -> None:
    frames = random_frames(4)
    objects = [_object(1, _points(4)), _object(2, FramePrompts(4, mask=_mask()))]
    ours = propagated(_model(name), frames, objects)
    upstream = _upstream_outputs(_predictor(name), frames, objects, reverse=True)
    _assert_equal(ours, upstream, 8)


@pytest.mark.parametrize("frame_prompts", [_points(1), _box(1), FramePrompts(1, mask=_mask())])
def test_one_object_forwards(frame_prompts: FramePrompts) -> None:
    frames, objects = random_frames(5), [_object(1, frame_prompts)]
    ours = propagated(_model(_TINY), frames, objects)
    _assert_equal(ours, _upstream_outputs(_predictor(_TINY), frames, objects), 5)


def test_prompts_on_later_frames_known_from_the_start_forwards() -> None:
    frames = random_frames(7)
    objects = [
        _object(1, _points(1), FramePrompts(5, mask=_mask())),
        _object(2, _box(1), _anew(_points(3)), _anew(_points(6, more=False))),
    ]
    ours = propagated(_model(_TINY), frames, objects)
    _assert_equal(ours, _upstream_outputs(_predictor(_TINY), frames, objects), 14)


def test_both_directions_from_a_frame_in_the_middle() -> None:
    frames, objects = random_frames(7), [_object(1, _points(4), _anew(_box(6)))]
    ours = propagated(_model(_TINY), frames, objects)
    forwards = _upstream_outputs(_predictor(_TINY), frames, objects)
    backwards = _upstream_outputs(_predictor(_TINY), frames, objects, reverse=True)
    _assert_equal([r for r in ours if r.frame >= 4], forwards, 4)
    _assert_equal([r for r in ours if r.frame <= 4], backwards, 4)


def test_long_runs_forget_what_attention_cannot_reach_and_nothing_else() -> None:
    # Longer than the 7 memories and the 16 pointers that a frame attends to.
    frames, objects = random_frames(22), [_object(1, _points(2, more=False), _anew(_points(20)))]
    ours = propagated(_model(_TINY), frames, objects)
    upstream = _upstream_outputs(_predictor(_TINY), frames, objects)
    _assert_equal([r for r in ours if r.frame >= 2], upstream, 21)


def test_more_conditioning_frames_than_the_limit_are_chosen_as_upstream_chooses() -> None:
    frames = random_frames(9)
    later = map(_anew, (_box(3), _points(5), _points(8, more=False)))
    objects = [_object(1, _points(1), *later)]
    ours = propagated(_model(_TINY), frames, objects, max_conditioning=2)
    predictor = _upstream(_TINY, max_cond_frames_in_attn=2)
    upstream = _upstream_outputs(predictor, frames, objects)
    _assert_equal(ours, upstream, 9)
    unlimited = {r.frame: r.logits for r in propagated(_model(_TINY), frames, objects)}
    assert any((unlimited[r.frame] != r.logits).any() for r in ours)


def test_frames_outside_the_span_condition_but_get_no_matte() -> None:
    frames, objects = random_frames(8), [_object(1, _points(1), _anew(_box(7)))]
    settings = RunSettings(first_frame=2, last_frame=4)
    ours = propagated(_model(_TINY), frames, objects, settings)
    # Tracking starts right after the first prompt, so this equals upstream over all frames.
    upstream = _upstream_outputs(_predictor(_TINY), frames, objects)
    _assert_equal(ours, upstream, 3)
    assert [r.frame for r in ours] == [2, 3, 4]


@cache
def _always_seen() -> tuple[SAM2Base, Any]:
    """Return a model and its predictor. Every change shows in their logits."""
    model = random_model(_TINY, always_seen=True)
    predictor = _upstream(_TINY)
    predictor.load_state_dict(model.state_dict())
    return model, predictor


_CORRECTED = {
    "include": (_points(4, more=False),),
    "exclude": (_excluding(4),),
    "both": (_points(4),),
    "box": (_box(4),),
    "twice": (_points(3), _excluding(5), _box_and_point(6)),
}


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("kind", _CORRECTED)
def test_a_click_on_a_tracked_frame_refines_it_and_reaches_what_is_tracked_after_it(
    kind: str, reverse: bool
) -> None:
    frames = random_frames(7)
    begin = _points(7 if reverse else 1, more=False)
    objects = [_object(1, *sorted((begin, *_CORRECTED[kind]), key=lambda at: at.frame))]
    settings = RunSettings(direction="backward" if reverse else "both")
    model, predictor = _always_seen()
    ours = propagated(model, frames, objects, settings)
    upstream = _corrected_upstream(predictor, frames, objects, reverse=reverse)
    _assert_equal(ours, upstream, 7)
    before = {
        result.frame: result.logits
        for result in propagated(model, frames, [_object(1, begin)], settings)
    }
    changed = {r.frame for r in ours if not np.array_equal(r.logits, before[r.frame])}
    corrected = [at.frame for at in _CORRECTED[kind]]
    reached = range(1, max(corrected) + 1) if reverse else range(min(corrected), 8)
    assert changed == set(reached)


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("name", _CONFIGS)
def test_corrections_of_two_objects_on_the_same_and_on_other_frames(
    name: str, reverse: bool
) -> None:
    frames = random_frames(6)
    objects = [
        _object(1, _points(1), _points(3), _excluding(4), _points(6, more=False)),
        _object(2, _box(1), _box_and_point(3), _points(5), _points(6)),
    ]
    settings = RunSettings(direction="backward" if reverse else "forward")
    ours = propagated(_model(name), frames, objects, settings)
    upstream = _corrected_upstream(_predictor(name), frames, objects, reverse=reverse)
    _assert_equal(ours, upstream, 12)
    assert any(0.02 < result.scores.area < 0.98 for result in ours)


def test_corrections_between_frames_that_are_known_from_the_start() -> None:
    frames = random_frames(8)
    objects = [
        _object(1, _points(1), _points(3), FramePrompts(5, mask=_mask()), _box(7)),
        _object(2, _box(1), _excluding(4), _anew(_points(6)), _points(7, more=False)),
    ]
    ours = propagated(_model(_TINY), frames, objects)
    _assert_equal(ours, _corrected_upstream(_predictor(_TINY), frames, objects), 16)


def test_corrections_beyond_the_limit_are_chosen_as_upstream_chooses() -> None:
    frames = random_frames(10)
    objects = [_object(1, _points(1), _points(3), _box(4), _excluding(6), _points(8))]
    ours = propagated(_model(_TINY), frames, objects, max_conditioning=2)
    predictor = _upstream(_TINY, max_cond_frames_in_attn=2)
    _assert_equal(ours, _corrected_upstream(predictor, frames, objects), 10)


def test_the_first_propagation_again_from_the_start_gives_a_corrected_frame_the_same() -> None:
    """Upstream tracks the frames before it again, with the correction. We leave them as they are."""
    frames, objects = random_frames(7), [_object(1, _points(1), _points(4))]
    model, predictor = _always_seen()
    state = _upstream_state(predictor, frames)
    for at in objects[0].frames:
        _prompt_upstream(predictor, state, _object(1, at))
        for _ in predictor.propagate_in_video(state):
            pass
    upstream = _outputs(state)
    ours = {result.frame: result for result in propagated(model, frames, objects)}
    _assert_equal([ours[1], ours[4]], upstream, 2)
    for frame in (2, 3, 5, 6, 7):
        assert not np.array_equal(ours[frame].logits, upstream[1, frame][0])
