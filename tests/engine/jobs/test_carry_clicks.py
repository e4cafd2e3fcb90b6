# SPDX-License-Identifier: GPL-3.0-or-later
"""A click reaches other photos through its place in space, also other passes; the user's own prompts win."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from msgspec.structs import replace

from sam2_splat_addon.core.errors import CameraError
from sam2_splat_addon.core.mattes.carried import anchors_of, known_carried, with_carried
from sam2_splat_addon.core.mattes.run_manifest import read_manifest
from sam2_splat_addon.core.mattes.store import MatteStore
from sam2_splat_addon.core.prompts import (
    FramePrompts,
    MaskPrompt,
    ObjectPrompts,
    PointPrompt,
    PromptSet,
)
from sam2_splat_addon.core.protocol import PreviewRequest, PropagateRequest
from sam2_splat_addon.core.settings import RunSettings
from sam2_splat_addon.engine.agreement import carry
from sam2_splat_addon.engine.agreement.carry import targets
from sam2_splat_addon.engine.jobs import carry_clicks, preview
from sam2_splat_addon.engine.jobs.compare import cameras_for
from tests.core.cameras.ring import write_colmap
from tests.engine.agreement.solid import POINTS, truth
from tests.engine.jobs.test_agree import Scene

from ..photo_footage import propagated

SHUFFLED = (0, 6, 3, 9, 1, 7, 4, 10, 2, 8, 5, 11)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carry, "_AROUND", 4)
    monkeypatch.setattr(carry, "_FEWEST", 4)
    monkeypatch.setattr(carry, "_ACROSS", 96)


def wish(scene: Scene, folder: Path, **settings: object) -> PropagateRequest:
    request = scene.request().propagation
    return replace(request, store=str(folder / "run"), settings=RunSettings(**settings))  # type: ignore[arg-type]


def prepared(request: PropagateRequest) -> PropagateRequest:
    return carry_clicks.prepared(
        request,
        on_progress=lambda event: None,
        on_log=lambda event: None,
        cancelled=lambda: False,
    )


def test_a_click_on_photos_without_order_reaches_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, 12, SHUFFLED)
    views = [view.camera for view in scene.views]
    write_colmap(tmp_path / "sparse" / "0", views, POINTS[::300])
    request = prepared(wish(scene, tmp_path, carry_clicks="on"))
    (entry,) = request.carried.objects
    assert len(entry.frames) >= 2
    assert 1 not in [at.frame for at in entry.frames]
    for at in entry.frames:
        assert not at.anew  # it corrects what is tracked
        edge = cv2.convexHull(
            np.argwhere(truth(scene.views[at.frame - 1]))[:, ::-1].astype(np.int32)
        )
        for point in at.points:
            assert cv2.pointPolygonTest(edge, (point.x, point.y), True) > -4

    def asked(*given: object) -> None:
        raise AssertionError("the model was asked again")

    monkeypatch.setattr(carry_clicks, "mask_of", asked)
    assert prepared(wish(scene, tmp_path, carry_clicks="on")) == request  # kept in the store

    propagated(request, image_size=0)
    manifest = read_manifest(MatteStore(Path(request.store)).manifest_path)
    assert manifest is not None
    assert manifest.carried == request.carried
    assert [at.frame for at in manifest.prompts.objects[0].frames] == [1]

    frame = next(at for at in range(2, 13) if at not in [one.frame for one in entry.frames])
    more = scene.click(frame).objects[0].frames[0]
    own = PromptSet(
        (replace(request.prompts.objects[0], frames=(*scene.click().objects[0].frames, more)),)
    )
    corrected = wish(scene, tmp_path, carry_clicks="on")
    corrected = replace(corrected, prompts=own)
    assert prepared(corrected).carried == request.carried  # a correction is no anchor
    question = PreviewRequest(
        photo=request.footage.paths[frame - 1],
        width=request.footage.width,
        height=request.footage.height,
        frame=frame,
        prompts=own,
        model=request.model,
        propagation=corrected,
        settings=corrected.settings,
    )
    (shown,) = preview.run(question, lambda: False)
    propagated(prepared(corrected), image_size=0)
    record = MatteStore.open(Path(request.store)).read(1, frame)
    np.testing.assert_array_equal(shown.array(), record.logits)


def test_without_points_depths_are_tried_and_a_new_pass_is_enough(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 12, SHUFFLED)
    request = wish(scene, tmp_path, carry_clicks="automatic")
    passes = replace(request, footage=replace(request.footage, cuts=(7,)))
    (entry,) = prepared(passes).carried.objects
    assert 7 in [at.frame for at in entry.frames]


def test_one_pass_carries_only_if_wanted_and_off_carries_nothing(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 12)
    request = wish(scene, tmp_path, carry_clicks="automatic")
    assert prepared(request) == request
    off = wish(scene, tmp_path)
    off = replace(off, footage=replace(off.footage, cuts=(7,)))
    assert prepared(off) == off


def test_without_cameras_nothing_is_carried_unless_wanted(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 8)
    (tmp_path / "sparse").rename(tmp_path / "elsewhere")
    request = wish(scene, tmp_path, carry_clicks="automatic")
    request = replace(request, footage=replace(request.footage, cuts=(5,)))
    assert prepared(request) == request
    with pytest.raises(CameraError, match="No cameras"):
        prepared(wish(scene, tmp_path, carry_clicks="on"))


def test_targets_are_spread_and_begin_each_pass(tmp_path: Path) -> None:
    found = cameras_for(Scene(tmp_path, 12, SHUFFLED).footage, "")
    chosen = targets(found, (7,), [1])
    assert 7 in chosen
    assert 1 not in chosen
    assert 4 <= len(chosen) <= 5


def test_own_prompts_win_and_only_what_stands_alone_is_an_anchor(tmp_path: Path) -> None:
    def at(frame: int, *, include: bool = True, anew: bool = False) -> FramePrompts:
        return FramePrompts(frame, (PointPrompt(5.0, 5.0, include),), anew=anew)

    drawn = FramePrompts(6, mask=MaskPrompt(2, 2, (0, 4)))
    own = ObjectPrompts(1, "a", (at(1, include=False), at(2), at(3), at(5, anew=True), drawn))
    assert [one.frame for one in anchors_of(own)] == [2, 5, 6]
    carried = PromptSet((ObjectPrompts(1, "a", (at(3, anew=True), at(4, anew=True))),))
    merged = with_carried(PromptSet((own,)), carried).objects[0]
    assert [one.frame for one in merged.frames] == [1, 2, 3, 4, 5, 6]
    assert merged.frames[2] == at(3)
    nothing = MatteStore.open(tmp_path / "empty", create=True)
    assert known_carried(nothing, PromptSet((own,))) == PromptSet(())
