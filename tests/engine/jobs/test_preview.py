# SPDX-License-Identifier: GPL-3.0-or-later
"""A preview equals what a propagation writes, keeps little, and lets other requests go first."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from sam2_splat_addon.core.errors import Cancelled, FootageError, PromptError
from sam2_splat_addon.core.mattes.run_manifest import MANIFEST_NAME, read_manifest
from sam2_splat_addon.core.prompts import (
    BoxPrompt,
    FramePrompts,
    MaskPrompt,
    ObjectPrompts,
    PointPrompt,
    PromptSet,
)
from sam2_splat_addon.core.protocol import (
    FootageFiles,
    FrameRange,
    ModelChoice,
    PreviewMatte,
    PreviewRequest,
    PropagateRequest,
)
from sam2_splat_addon.core.settings import RunSettings, SpeedName
from sam2_splat_addon.engine.jobs import correction_preview, feature_cache, preview
from sam2_splat_addon.engine.jobs.feature_cache import FeatureCache, photo_key
from sam2_splat_addon.engine.models import model_cache
from sam2_splat_addon.engine.models.architectures import BUNDLED
from sam2_splat_addon.engine.tracking.plan import ObjectPlan
from sam2_splat_addon.engine.tracking.results import FrameResult
from sam2_splat_addon.engine.tracking.session import Session

from ..photo_footage import propagated, request, with_click, write_photos
from ..random_models import HEIGHT, IMAGE_SIZE, WIDTH, random_model

_CLICK = (PointPrompt(70.0, 40.0), PointPrompt(20.25, 80.5, include=False))
_BOX = BoxPrompt(30.0, 20.0, 120.0, 80.0)
_MASK = MaskPrompt.from_array(np.hypot(*(np.indices((HEIGHT, WIDTH)) - 48)) < 30)


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> FootageFiles:
    return write_photos(tmp_path_factory.mktemp("photos"), 4)


def _ask(
    wish: PropagateRequest, frame: int, propagation: PropagateRequest | None = None
) -> PreviewRequest:
    """Return the preview of one frame of a propagation."""
    return PreviewRequest(
        wish.footage.paths[frame - 1],
        wish.footage.width,
        wish.footage.height,
        frame,
        wish.prompts,
        wish.model,
        propagation,
        settings=wish.settings,
    )


def _preview(wish: PropagateRequest, frame: int) -> tuple[PreviewMatte, ...]:
    """Return what the frame's prompts give by themselves."""
    return preview.run(_ask(wish, frame), lambda: False, IMAGE_SIZE)


def _foreseen(wish: PropagateRequest, frame: int) -> dict[int, PreviewMatte]:
    """Return what the propagation should give there, by object."""
    return {
        at.object_id: at for at in preview.run(_ask(wish, frame, wish), lambda: False, IMAGE_SIZE)
    }


@pytest.mark.parametrize("order", ["preview first", "propagation first"])
def test_every_prompted_frame_equals_what_propagation_writes_bit_for_bit(
    order: str, footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    one = ObjectPrompts(1, "a", (FramePrompts(2, _CLICK), FramePrompts(3, _CLICK[:1], _BOX)))
    two = ObjectPrompts(5, "b", (FramePrompts(2, mask=_MASK), FramePrompts(4, _CLICK, mask=_MASK)))
    wish = request(footage, checkpoint, tmp_path, one, two)
    if order == "propagation first":
        store = propagated(wish)
    seen = {frame: tuple(_foreseen(wish, frame).values()) for frame in (2, 3, 4, 2, 3)}
    if order == "preview first":
        store = propagated(wish)
    assert {frame: [m.object_id for m in mattes] for frame, mattes in seen.items()} == {
        2: [1, 5],
        3: [1],
        4: [5],
    }
    for frame, mattes in seen.items():
        for matte in mattes:
            record = store.read(matte.object_id, frame)
            assert record.prompted
            assert matte.array().tobytes() == record.logits.tobytes()
            assert matte.scores == record.scores
            assert matte.array().shape == record.logits.shape


def test_a_preview_of_an_exact_run_equals_it_too_whatever_was_asked_before(tmp_path: Path) -> None:
    """Large photos are then decoded whole, at the same size of the same model."""
    path, name = tmp_path / "large.jpg", "sam2.1_hiera_tiny"
    noise = np.random.default_rng(1).integers(0, 255, (40, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((640, 400)).save(path)
    footage = FootageFiles(str(tmp_path), (str(path),), 640, 400, "fingerprint")
    one = ObjectPrompts(1, "a", (FramePrompts(1, (PointPrompt(280.0, 160.0),)),))
    weights = random_model(name).state_dict()
    checkpoint = tmp_path / "random.safetensors"
    save_file({key: value.contiguous() for key, value in weights.items()}, checkpoint)
    model = ModelChoice(name, str(checkpoint), "cpu", 1)
    speeds: tuple[SpeedName, ...] = ("fast", "quality", "fast")
    seen = {}
    for number, speed in enumerate(speeds):
        store, settings = tmp_path / f"store {number}", RunSettings(speed=speed)
        wish = PropagateRequest(footage, PromptSet((one,)), str(store), model, settings)
        (matte,) = _preview(wish, 1)
        assert matte.array().tobytes() == propagated(wish).read(1, 1).logits.tobytes()
        seen[speed] = matte.array().tobytes()
    assert seen["quality"] != seen["fast"]


def test_a_preview_obeys_clicks_as_its_propagation_does(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    one = ObjectPrompts(1, "a", (FramePrompts(1, _CLICK), FramePrompts(3, _CLICK)))
    seen: dict[str, list[bytes]] = {}
    for choice in ("automatic", "off", "on", "automatic"):
        settings = msgspec.convert({"obey_clicks": choice}, RunSettings)
        wish = request(footage, checkpoint, tmp_path / choice, one, settings=settings)
        foreseen = [_foreseen(wish, frame)[1].array().tobytes() for frame in (1, 3)]
        store = propagated(wish)
        assert foreseen == [store.read(1, frame).logits.tobytes() for frame in (1, 3)]
        seen[choice] = foreseen
    assert seen["automatic"] == seen["on"]  # with the bundled model
    assert seen["off"][0] != seen["on"][0] and seen["off"][1] != seen["on"][1]


def test_a_preview_in_bfloat16_equals_its_propagation_whatever_was_asked_before(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    one = ObjectPrompts(1, "a", (FramePrompts(2, _CLICK),))
    seen: dict[str, set[bytes]] = {"float32": set(), "bfloat16": set()}
    for number, precision in enumerate(("bfloat16", "float32", "bfloat16", "float32")):
        settings = msgspec.convert({"precision": precision}, RunSettings)
        wish = request(footage, checkpoint, tmp_path / f"{number}", one, settings=settings)
        foreseen = _foreseen(wish, 2)[1].array().tobytes()
        store = propagated(wish)
        assert foreseen == store.read(1, 2).logits.tobytes()
        manifest = read_manifest(store.folder / MANIFEST_NAME)
        assert manifest is not None and manifest.machine.dtype == precision
        seen[precision].add(foreseen)
    assert {len(found) for found in seen.values()} == {1}
    assert not seen["float32"] & seen["bfloat16"]


@pytest.mark.parametrize("includes", [False, True])
@pytest.mark.parametrize(
    ("has_run", "both_sides"), [(True, False), (False, False), (True, True), (False, True)]
)
def test_a_corrected_frame_equals_what_propagation_writes_there_bit_for_bit(
    has_run: bool,
    both_sides: bool,
    includes: bool,
    footage: FootageFiles,
    checkpoint: Path,
    tmp_path: Path,
) -> None:
    one = ObjectPrompts(1, "a", (FramePrompts(1, _CLICK),))
    if both_sides:
        one = with_click(one, 4)
    two = ObjectPrompts(2, "b", (FramePrompts(4, _CLICK), FramePrompts(3, _CLICK)))
    settings = RunSettings(both_sides=both_sides)
    before = request(footage, checkpoint, tmp_path / "store", one, two, settings=settings)
    if has_run:
        propagated(before)
    for number, at in enumerate((5.0, 60.0)):
        here = FramePrompts(3, (PointPrompt(at, 5.0, include=False),))
        if includes:
            here = msgspec.structs.replace(here, points=(*_CLICK[:1], *here.points), box=_BOX)
        corrected = msgspec.structs.replace(one, frames=(*one.frames, here))
        wish = request(footage, checkpoint, tmp_path / "store", corrected, two, settings=settings)
        asked = msgspec.structs.replace(_ask(wish, 3), propagation=wish)
        mattes = {matte.object_id: matte for matte in preview.run(asked, lambda: False, IMAGE_SIZE)}
        store = propagated(msgspec.structs.replace(wish, store=str(tmp_path / f"{number}")))
        assert sorted(mattes) == [1, 2]
        for object_id, matte in mattes.items():
            record = store.read(object_id, 3)
            assert record.prompted
            assert matte.array().tobytes() == record.logits.tobytes()
            assert matte.scores == record.scores
    assert (tmp_path / "store").exists() == has_run


def test_where_there_is_far_to_track_clicks_show_what_they_give_until_memories_are_near(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(correction_preview, "FEW", 2)
    # No other test may use these clicks, because tracking for them is kept.
    begun = ObjectPrompts(1, "a", (FramePrompts(1, (PointPrompt(71.5, 41.0),)),))
    wish = request(footage, checkpoint, tmp_path, with_click(begun, 4))
    (alone,) = _preview(wish, 4)
    assert _foreseen(wish, 4) == {1: alone}
    propagated(request(footage, checkpoint, tmp_path, begun))
    foreseen = _foreseen(wish, 4)
    assert foreseen != {1: alone}
    assert foreseen[1].array().tobytes() == propagated(wish).read(1, 4).logits.tobytes()


def test_what_starts_anew_shows_what_its_clicks_give_by_themselves(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    begun = ObjectPrompts(1, "a", (FramePrompts(1, _CLICK),))
    plain, anew = (with_click(begun, 2, anew=anew) for anew in (False, True))
    (alone,) = _preview(request(footage, checkpoint, tmp_path, plain), 2)
    assert _foreseen(request(footage, checkpoint, tmp_path, plain), 2) != {1: alone}
    assert _foreseen(request(footage, checkpoint, tmp_path, anew), 2) == {1: alone}


def test_a_fault_on_another_frame_or_object_takes_no_preview_away(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    begun = ObjectPrompts(1, "a", (FramePrompts(1, _CLICK),))
    good = with_click(begun, 3)
    nowhere = ObjectPrompts(2, "b", (FramePrompts(3, (PointPrompt(5.0, 5.0, include=False),)),))
    expected = _foreseen(request(footage, checkpoint, tmp_path, good), 3)
    wish = request(footage, checkpoint, tmp_path, good, ObjectPrompts(3, "c"))
    asked = _ask(request(footage, checkpoint, tmp_path, good), 3, wish)
    assert {at.object_id: at for at in preview.run(asked, lambda: False, IMAGE_SIZE)} == expected
    outside = with_click(good, 2, WIDTH + 9.0, 5.0)
    wish = request(footage, checkpoint, tmp_path, outside)
    (alone,) = _preview(wish, 3)
    asked = _ask(request(footage, checkpoint, tmp_path, good), 3, wish)
    assert preview.run(asked, lambda: False, IMAGE_SIZE) == (alone,)
    wish = request(footage, checkpoint, tmp_path, nowhere)
    with pytest.raises(PromptError, match="no click that says where it is"):
        preview.run(_ask(wish, 3, wish), lambda: False, IMAGE_SIZE)


def test_further_clicks_on_a_corrected_frame_track_that_frame_alone(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(x: float) -> PreviewRequest:
        excluding = FramePrompts(4, (PointPrompt(x, 5.0, include=False),))
        one = ObjectPrompts(1, "a", (FramePrompts(1, _CLICK[:1]), excluding))
        wish = request(footage, checkpoint, tmp_path, one)
        return msgspec.structs.replace(_ask(wish, 4), propagation=wish)

    tracked: list[int] = []
    track = Session._track

    def counted(self: Session, plan: ObjectPlan, frame: int, *rest: Any) -> FrameResult:
        tracked.append(frame)
        return track(self, plan, frame, *rest)

    monkeypatch.setattr(Session, "_track", counted)
    looks = iter([False] * 5)
    with pytest.raises(Cancelled):
        preview.run(asked(5.0), lambda: next(looks, True), IMAGE_SIZE)
    assert tracked[-1:] != [4]
    for x in (15.0, 25.0):
        preview.run(asked(x), lambda: False, IMAGE_SIZE)
    assert sorted(tracked) == [2, 3, 4, 4]


def test_a_clicked_frame_alone_is_propagated_in_the_time_of_one_frame(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracked: list[int] = []
    track = Session._track

    def counted(self: Session, plan: ObjectPlan, frame: int, *rest: Any) -> FrameResult:
        tracked.append(frame)
        return track(self, plan, frame, *rest)

    monkeypatch.setattr(Session, "_track", counted)
    # No other test may use these clicks, because tracking for them is kept.
    begun = ObjectPrompts(1, "a", (FramePrompts(1, (PointPrompt(72.5, 42.0),)),))
    wish = request(footage, checkpoint, tmp_path / "one", with_click(begun, 4))
    (shown,) = _foreseen(wish, 4).values()
    assert tracked == [2, 3, 4]
    alone = propagated(msgspec.structs.replace(wish, update=FrameRange(4, 4)))
    assert tracked == [2, 3, 4, 4]
    whole = propagated(msgspec.structs.replace(wish, store=str(tmp_path / "all")))
    assert len(tracked) > 6, "a whole run leaves frames out"
    for store in (alone, whole):
        assert store.read(1, 4).logits.tobytes() == shown.array().tobytes()
    assert alone.frames(1) == [4]


def test_a_frame_whose_prompts_only_exclude_has_no_preview_of_its_own(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    excluding = FramePrompts(3, (PointPrompt(5.0, 5.0, include=False),))
    one = ObjectPrompts(1, "a", (FramePrompts(2, _CLICK), excluding))
    two = ObjectPrompts(2, "b", (FramePrompts(3, _CLICK),))
    wish = request(footage, checkpoint, tmp_path, one, two)
    assert [matte.object_id for matte in _preview(wish, 3)] == [2]


def test_without_prompts_the_frame_is_made_ready_and_only_read_once(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = Path(shutil.copy(footage.paths[0], tmp_path / "photo.jpg"))
    alone = msgspec.structs.replace(footage, paths=(str(photo),))
    wish = request(alone, checkpoint, tmp_path)
    assert _preview(wish, 1) == ()
    clicked = request(
        alone, checkpoint, tmp_path, ObjectPrompts(1, "a", (FramePrompts(1, _CLICK),))
    )

    class NoFrames:
        def __init__(self, *_: object) -> None:
            raise AssertionError("the photo was read again")

    with monkeypatch.context() as patch:
        patch.setattr(feature_cache, "FrameSource", NoFrames)
        before = _preview(clicked, 1)
    # A new photo with the same name counts as another photo.
    Image.new("RGB", (WIDTH, HEIGHT), (200, 30, 90)).save(photo)
    os.utime(photo, ns=(1, 1))
    assert _preview(clicked, 1) != before


def test_without_a_photo_the_model_is_loaded(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Any] = []
    get = model_cache.shared.get

    def noted(*asked: Any) -> Any:
        loaded.append(asked)
        return get(*asked)

    monkeypatch.setattr(model_cache.shared, "get", noted)
    wish = _ask(request(footage, checkpoint, tmp_path), 1)
    wish = msgspec.structs.replace(wish, photo="")
    assert preview.run(wish, lambda: False, IMAGE_SIZE) == ()
    assert len(loaded) == 1


def test_frames_beyond_the_bound_are_forgotten_the_oldest_first(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    wish = request(footage, checkpoint, tmp_path)
    _preview(wish, 1)
    previewer = preview._previewer
    assert previewer is not None
    image = previewer._features.get(photo_key(footage.paths[0]))
    assert image is not None
    size = sum(entry.nbytes for entry in image.maps)

    def key_of(name: str) -> Any:
        """Short for a photo's whole key."""
        return name, 0, 0

    features = FeatureCache(2 * size + 1, exact=True)
    for key in ("a", "b", "a", "c"):
        if features.get(key_of(key)) is None:
            features.keep(key_of(key), image)
    assert [features.get(key_of(key)) is not None for key in "abc"] == [True, False, True]
    tiny = FeatureCache(1, exact=True)
    tiny.keep(key_of("a"), image)
    assert tiny.get(key_of("a")) is not None


@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_dropped_preview_stops_at_its_next_step(
    step: int, footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    one = ObjectPrompts(1, "a", (FramePrompts(1, (PointPrompt(11.0 + step, 40.0),)),))
    asked = _ask(request(footage, checkpoint, tmp_path, one), 1)
    looks = iter(range(100))
    with pytest.raises(Cancelled):
        preview.run(asked, lambda: next(looks) >= step, IMAGE_SIZE)
    assert next(looks) == step + 1


def test_what_cannot_be_previewed_is_a_clear_error(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    outside = ObjectPrompts(1, "a", (FramePrompts(1, (PointPrompt(WIDTH + 5.0, 1.0),)),))
    with pytest.raises(PromptError, match="outside the"):
        _preview(request(footage, checkpoint, tmp_path, outside), 1)
    gone = msgspec.structs.replace(footage, paths=(str(tmp_path / "gone.jpg"),))
    with pytest.raises(FootageError, match=r"gone\.jpg can't be read"):
        _preview(request(gone, checkpoint, tmp_path), 1)


def test_the_bundled_model_needs_no_checkpoint(footage: FootageFiles) -> None:
    prompts = PromptSet((ObjectPrompts(1, "a", (FramePrompts(1, _CLICK),)),))
    model = ModelChoice(BUNDLED, "", "cpu", 1)
    asked = PreviewRequest(footage.paths[0], WIDTH, HEIGHT, 1, prompts, model)
    (matte,) = preview.run(asked, lambda: False, IMAGE_SIZE)
    assert matte.array().shape == (IMAGE_SIZE // 4, IMAGE_SIZE // 4)


def test_one_click_after_the_other_shows_what_propagation_writes_close_up(tmp_path: Path) -> None:
    """The released model looks closer at clicks. Earlier answers and close-ups change no bit."""
    width, height, small = 640, 480, (300, 150, 380, 270)
    paths = []
    for number in range(3):
        rng = np.random.default_rng(number)
        photo = rng.normal((196, 178, 140), 12, (height, width, 3))
        left, top, right, bottom = (edge + 8 * number for edge in small)
        photo[top:bottom, left:right] = rng.normal((30, 60, 150), 8, (120, 80, 3))
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(np.clip(photo, 0, 255).astype(np.uint8)).save(paths[-1])
    footage = FootageFiles(str(tmp_path), tuple(paths), width, height, "fingerprint")
    clicks = (PointPrompt(340, 200), PointPrompt(320, 250), PointPrompt(290, 200, include=False))
    later = FramePrompts(3, (PointPrompt(350, 220), PointPrompt(300, 160, include=False)))
    for count in (1, 2, 3):
        prompts = (FramePrompts(1, clicks[:count]), later)
        model = ModelChoice(BUNDLED, "", "cpu", 1)
        store = str(tmp_path / f"mattes {count}")
        things = PromptSet((ObjectPrompts(1, "vase", prompts),))
        wish = PropagateRequest(footage, things, store, model, RunSettings())
        seen = {
            frame: preview.run(_ask(wish, frame, wish), lambda: False)[0].array()
            for frame in (1, 3)
        }
        written = propagated(wish, image_size=0)  # the model's own size
        for frame, matte in seen.items():
            assert matte.tobytes() == written.read(1, frame).logits.tobytes(), (count, frame)
            assert matte.shape == (256, 256)
        assert written.read(1, 2).logits.shape == (256, 256)  # had a second look
