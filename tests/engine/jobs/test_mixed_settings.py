# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings together: every mix always gives its own mattes, however a run gets there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from sam2_splat_addon.core.errors import Cancelled
from sam2_splat_addon.core.mattes.store import MatteStore
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt
from sam2_splat_addon.core.protocol import FootageFiles, FrameRange, PropagateRequest
from sam2_splat_addon.core.settings import Look, Memory, RunSettings, SpeedName
from sam2_splat_addon.engine.jobs import propagate, run_store
from sam2_splat_addon.engine.refine import zoom_refine

from ..photo_footage import clicked, request, with_click, write_photos
from ..random_models import IMAGE_SIZE

_FRAMES = 6
_THING = with_click(clicked(1, 2, 70.0, 40.0), 5)
_EXCLUDED = FramePrompts(4, (PointPrompt(20.0, 20.0, include=False),))
_CORRECTED = replace(_THING, frames=(_THING.frames[0], _EXCLUDED, _THING.frames[1]))
_OTHER = clicked(2, 3, 110.0, 60.0, "other")

# Any two values of any two settings occur together at least once.
_ROWS: tuple[tuple[Look, bool, Memory, bool, SpeedName, int], ...] = (
    ("off", False, "exact", False, "quality", 0),
    ("off", True, "guarded", True, "fast", 1),
    ("off", True, "exact", True, "balanced", 0),
    ("whole", True, "guarded", False, "quality", 1),
    ("whole", False, "exact", True, "fast", 1),
    ("whole", False, "guarded", False, "balanced", 0),
    ("parts", True, "guarded", True, "quality", 0),
    ("details", True, "exact", False, "fast", 0),
    ("parts", False, "guarded", True, "balanced", 1),
)
_MIXES = [
    RunSettings(
        second_look=look,
        both_sides=sides,
        memory=memory,
        panorama=panorama,
        speed=speed,
        nearby_prompts=nearby,
    )
    for look, sides, memory, panorama, speed, nearby in _ROWS
]
_mixes = pytest.mark.parametrize("settings", _MIXES, ids=lambda mix: "-".join(_values(mix)))


def _values(mix: RunSettings) -> list[str]:
    words = [mix.second_look, "sides" if mix.both_sides else "one", mix.memory, mix.speed]
    return [*words, "round" if mix.panorama else "flat", f"near{mix.nearby_prompts}"]


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> FootageFiles:
    return write_photos(tmp_path_factory.mktemp("photos"), _FRAMES)


@pytest.fixture(autouse=True)
def _short_footage_has_all_that_long_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give short footage memories on disk, and closer looks that accept a random model's answers."""
    monkeypatch.setattr(run_store, "SHELF_FRAMES", 2)
    monkeypatch.setattr(zoom_refine, "_WORTH_IT", 1.1)
    monkeypatch.setattr(zoom_refine, "_AGREE", 0.0)


@pytest.fixture
def ask(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> Callable[[str, RunSettings, ObjectPrompts], PropagateRequest]:
    def asked(store: str, settings: RunSettings, thing: ObjectPrompts) -> PropagateRequest:
        path = tmp_path / store
        return request(footage, checkpoint, path, thing, _OTHER, settings=settings)

    return asked


_Ask = Callable[[str, RunSettings, ObjectPrompts], PropagateRequest]


def _run(wish: PropagateRequest, cancel_at: int = -1) -> int:
    """Run, or cancel at the given question; return how often it was asked."""
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked == cancel_at

    propagate.run(
        wish,
        on_progress=lambda _: None,
        on_frame_done=lambda _: None,
        on_log=lambda _: None,
        cancelled=cancelled,
        image_size=IMAGE_SIZE,
    )
    return asked


def _mattes(wish: PropagateRequest) -> dict[str, bytes]:
    """Return the store's mattes by their path. No half-written file lies beside them."""
    folder = Path(wish.store)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert not [
        path for path in files if path.suffix not in {".matte", ".json", ".safetensors", ".lock"}
    ]
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in (folder / "objects").rglob("*.matte")
    }


@_mixes
def test_cancelled_anywhere_and_gone_on_with_it_is_the_same(
    settings: RunSettings, ask: _Ask
) -> None:
    whole = ask("whole", settings, _CORRECTED)
    stages = _run(whole)
    expected = _mattes(whole)
    assert len(expected) == 2 * _FRAMES
    broken = ask("broken", settings, _CORRECTED)
    for cancel_at in (stages * 2 // 3, stages // 4, 3):  # each continues what the earlier ones left
        with pytest.raises(Cancelled):
            _run(broken, cancel_at)
        assert _mattes(broken).items() <= expected.items() or settings.both_sides
    _run(broken)
    assert _mattes(broken) == expected


@_mixes
def test_clicks_that_come_and_go_leave_nothing(settings: RunSettings, ask: _Ask) -> None:
    whole = ask("whole", settings, _CORRECTED)
    _run(whole)
    changed = ask("changed", settings, _THING)
    _run(changed)
    assert _mattes(changed) != _mattes(whole)
    corrected = ask("changed", settings, _CORRECTED)
    _run(replace(corrected, update=FrameRange(4, 5)))
    _run(corrected)
    assert _mattes(corrected) == _mattes(whole)


def test_no_two_mixes_share_a_key(ask: _Ask) -> None:
    found: set[str | None] = set()
    for number, settings in enumerate(_MIXES):
        wish = ask(str(number), settings, _CORRECTED)
        _run(wish)
        store = MatteStore.open(Path(wish.store))
        keys = {store.key(one, frame) for one in (1, 2) for frame in range(1, _FRAMES + 1)}
        assert len(keys) == 2 * _FRAMES
        assert not found & keys
        found |= keys


@pytest.mark.parametrize("look", ["whole", "parts"])
def test_a_run_cancelled_between_two_looks_at_a_frame_goes_on_from_the_frame_before(
    look: Look, ask: _Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory of a frame whose look was cancelled must not be saved as the frame before's."""
    monkeypatch.setattr(run_store, "SHELF_FRAMES", 100)  # so only what a cancelled run saves counts
    settings = RunSettings(second_look=look, memory="guarded", panorama=True)
    whole = ask("whole", settings, _THING)
    stages = _run(whole)
    # A cancelled run stops before the next look, not after all looks at a frame.
    assert stages > _run(ask("off", replace(settings, second_look="off"), _THING))
    expected = _mattes(whole)
    for cancel_at in range(2, stages, 2):
        broken = ask(f"broken {cancel_at}", settings, _THING)
        with pytest.raises(Cancelled):
            _run(broken, cancel_at)
        assert _mattes(broken).items() <= expected.items()
        _run(broken)
        assert _mattes(broken) == expected
