# SPDX-License-Identifier: GPL-3.0-or-later
"""Play with mouse and keys what a user does in Blender's window, and check the results.

Each test plays the scenario of its own name (scenarios/). The scenario fails by itself if Blender's
answer is wrong. The test then looks at the pictures and files.
"""

from __future__ import annotations

import numpy as np
import pillow_heif
from PIL import Image

from sam2_splat_addon.core.mattes.store import MatteStore
from tests.engine.video_files import write_video
from tests.window.capture import FRAMES, SAMPLE, SIZE, Capture, make_capture, make_photos
from tests.window.conftest import SCENARIOS
from tests.window.pictures import changed, inner, iou, photo_on, visible
from tools.window.launcher import InstalledBlender, Played

# Large enough, so that the editor shows small copies.
LARGE = (2672, 4008)
# 54 megapixels, and the most memory of Blender for a run on such photos, MB.
HUGE, HUGE_COUNT, ADDED_MB = (6000, 9000), 6, 1500


def test_first_try(played: Played, capture: Capture) -> None:
    """Three clicks give a preview, then masks in the right place on every photo, and PNGs."""
    assert played.seen["frames"] == FRAMES
    assert played.seen["layers"] == ["chair"]
    clicked = np.array(played.seen["clicked"])
    assert np.abs(clicked - [(304, 444), (183, 261), (241, 643)]).max() < 2.0

    stems = capture.stems()
    alphas = {}
    for stem in stems:
        path = capture.photos / "postshot_v001" / f"{stem}.png"
        with Image.open(path) as baked, Image.open(capture.photos / f"{stem}.JPG") as photo:
            assert baked.mode == "RGBA"
            pixels = np.asarray(baked)
            assert np.array_equal(pixels[..., :3], np.asarray(photo))
        alphas[stem] = pixels[..., 3] > 127
    assert np.mean([iou(alphas[stem], capture.truth_of(stem)) for stem in stems]) > 0.7

    # The preview has the object's colour where the chair is.
    bare, preview = photo_on(played, "loaded", SIZE), photo_on(played, "clicked", SIZE)
    chair = capture.truth_of(stems[0])
    assert iou(changed(bare, preview), chair) > 0.6
    color = 255 * np.array(played.seen["color"])
    inside = chair & changed(bare, preview)
    was, became = (np.abs(view[inside] - color).mean() for view in (bare, preview))
    assert became < 0.8 * was, "the chair is not in its object's colour"

    # The overlay on the fourth photo equals the baked PNG.
    alpha = alphas[stems[3]]
    plain = photo_on(played, "plain", SIZE)
    assert iou(changed(plain, photo_on(played, "color", SIZE)), alpha) > 0.9
    matte = photo_on(played, "matte", SIZE)
    assert iou(matte[..., 0] > 127, alpha) > 0.97
    close = photo_on(played, "matte_close", SIZE)
    shown = visible(close)
    assert 0.02 < shown.mean() < 0.5, "the view is not close"
    assert 0.05 < alpha[shown].mean() < 0.95, "the view has no edge in it"
    assert iou(close[shown][:, 0] > 127, alpha[shown]) > 0.99
    kept = np.abs(photo_on(played, "cutout", SIZE) - plain).max(axis=2) < 3.0
    assert kept[inner(alpha)].mean() > 0.99
    assert kept[~alpha].mean() < 0.1


def test_found(played: Played, capture: Capture) -> None:
    """A new user needs at most seven actions from Blender's start to PNGs, and loses no workspace."""
    actions = played.seen["actions"]
    assert len(actions) <= 7, actions
    assert len(list((capture.photos / "postshot_v001").glob("*.png"))) == FRAMES
    print(f"the first click is answered after {played.seen['first_click']} s")


def test_search(played: Played, capture: Capture) -> None:
    """Blender's search finds loading, propagating and baking, also from a 3D Viewport."""
    assert len(list((capture.photos / "postshot_v001").glob("*.png"))) == FRAMES


def test_missing(played: Played) -> None:
    """A click without SAM 2 says so where it was, and has the button that mends it."""
    assert changed(photo_on(played, "offline", SIZE), photo_on(played, "clicked", SIZE)).any()
    print(f"later clicks are answered after {played.seen['later_clicks']} s")


def test_click_tool(played: Played) -> None:
    """Each action of the click tool is one click, one box or one deletion, and one undo step."""
    box = np.array(played.seen["boxes"])
    assert np.abs(box - [150, 140, 470, 760]).max() < 3.0


def test_cancel(played: Played) -> None:
    """ESC stops a propagation. Finished masks stay, and the next propagation does the rest."""
    assert 2 <= played.seen["kept"] < FRAMES
    assert played.seen["finished"] == FRAMES


def test_steps(blender: InstalledBlender) -> None:
    """On a small screen all four steps are in sight, and the whole job can be done from them."""
    capture = make_capture(blender.session / "steps")
    played = blender.play(SCENARIOS / "steps.py", screen=(1366, 768))
    assert len(list((capture.photos / "postshot_v001").glob("*.png"))) == FRAMES
    saved = played.seen["saved"]
    assert saved["speed"] == "fast" and saved["preset"].startswith("import bpy")


def test_buttons(blender: InstalledBlender) -> None:
    """Propagate, Cancel and Bake do what they say when they are clicked in the sidebar."""
    # Enough photos, so that the mouse finds Cancel before all are done.
    capture = make_capture(blender.session / "buttons", 16)
    played = blender.play(SCENARIOS / "buttons.py")
    assert played.seen["output"]
    assert len(list((capture.photos / "postshot_v001").glob("*.png"))) == 16


def test_file_browser(blender: InstalledBlender) -> None:
    """Load Photos takes a folder or a photo from the file browser. Large photos get small copies."""
    photos = blender.session / "file_browser" / "photos"
    make_photos(photos, LARGE, 3)
    played = blender.play(SCENARIOS / "file_browser.py")
    assert played.seen["frames"] == played.seen["again"] == 3
    first = min(photos.glob("*.*"))
    assert (photos / played.seen["chosen"]).is_file()
    with Image.open(first) as image:
        expected = np.asarray(image.convert("RGB"), dtype=np.float32)
    shown = photo_on(played, "loaded", LARGE)
    there = visible(shown)
    assert there.mean() > 0.8
    assert np.abs(shown - expected)[there].mean() < 12.0, "what is shown is not the photo"


def test_culled(blender: InstalledBlender) -> None:
    """After a photo is deleted and the folder loaded again, clicks go along and the right photos show."""
    photos = blender.session / "culled" / "photos"
    make_photos(photos, LARGE, 4)
    played = blender.play(SCENARIOS / "culled.py")
    assert played.seen["frames"] == 3
    with Image.open(min(photos.glob("*.JPG"))) as image:
        expected = np.asarray(image.convert("RGB"), dtype=np.float32)
    shown = photo_on(played, "first", LARGE)
    there = visible(shown)
    assert there.mean() > 0.8
    assert np.abs(shown - expected)[there].mean() < 12.0, "a small copy of another photo is shown"


def test_large_photos(blender: InstalledBlender) -> None:
    """A job with three objects in photos of 54 megapixels keeps Blender's memory below a limit."""
    make_photos(blender.session / "large_photos" / "photos", HUGE, HUGE_COUNT)
    played = blender.play(SCENARIOS / "large_photos.py")
    assert played.seen["frames"] == HUGE_COUNT
    assert len(played.seen["layers"]) == 3
    peaks = played.seen["peaks"]
    for step, peak in peaks.items():
        print(f"{step}: at most {peak:.0f} MB so far")
    assert max(peaks.values()) - peaks["start"] < ADDED_MB


def test_preferences(played: Played) -> None:
    """The add-on's preferences open and have their buttons."""
    assert played.seen["pictures"].keys() == {"preferences"}


def test_drop(blender: InstalledBlender) -> None:
    """Photos that are dropped onto the editor open, and a button loads their folder; HEICs load at once."""
    make_capture(blender.session / "drop")
    further = blender.session / "drop" / "further photos"
    further.mkdir()
    for photo in sorted((SAMPLE / "photos").iterdir())[:3]:
        with Image.open(photo) as image:
            pillow_heif.from_pillow(image.resize(SIZE)).save(further / f"{photo.stem}.HEIC")
    played = blender.play(SCENARIOS / "drop.py")
    assert played.seen["frames"] == FRAMES
    assert played.seen["further"] == 3


def test_video(blender: InstalledBlender) -> None:
    """A video is looked at, the strip shows which frames are taken, and the button makes the photos."""
    folder = blender.session / "video"
    folder.mkdir()
    with Image.open(min((SAMPLE / "photos").iterdir())) as image:
        wide = np.asarray(image.convert("RGB").resize((900, 1350)))
    shown = [np.ascontiguousarray(wide[300:660, 4 * at : 4 * at + 480]) for at in range(90)]
    write_video(folder / "walk.mp4", shown)
    played = blender.play(SCENARIOS / "video.py")
    assert played.seen["counts"][0] > played.seen["counts"][1] == played.seen["frames"] == 6
    assert len(list((folder / "walk_photos").glob("*.jpg"))) == 6
    pictures = [
        np.asarray(Image.open(played.folder / f"{name}.png").convert("RGB"), np.float32)
        for name in ("chosen", "fewer")
    ]
    moved = np.abs(pictures[0] - pictures[1]).max(axis=2) > 60
    assert moved[moved.shape[0] // 2 :].sum() > 300, "the marks did not follow the number"


def test_responsiveness(played: Played) -> None:
    """Every click shows a mask. The times are printed, also how long the add-on blocked the window."""
    assert len(played.seen["seconds"]) == 3
    for number, (asked, answered, drawn) in enumerate(played.seen["seconds"], start=1):
        print(f"click {number}: asked {asked} s, answered {answered} s, drawn {drawn} s")
    assert set(played.seen["longest"]) >= {"clicking", "propagating", "idle", "looking"}
    for phase, entries in played.seen["longest"].items():
        for name, (clock, processor) in sorted(entries.items(), key=lambda entry: -entry[1][0]):
            print(f"{phase}: {name} {clock} ms, {processor} ms of them at work")


def test_quit(played: Played, capture: Capture) -> None:
    """Blender quits during a propagation, and the worker ends too. Finished files are whole."""
    store = MatteStore.open(capture.photos / "sam2_splat_mattes")
    kept = [frame for frame in range(1, FRAMES + 1) if store.has(1, frame)]
    assert kept
    assert all(store.read(1, frame).frame == frame for frame in kept)


def test_meanwhile(played: Played) -> None:
    """Undo, a deleted clip and a new file during a propagation do no harm."""
    assert played.seen["frames"] == FRAMES


def test_worker_dies(played: Played) -> None:
    """Without a click the button says what to do. After the worker's death the next run goes on."""
    assert "Ctrl+click" in played.seen["refused"]
    assert "SAM 2 process" in played.seen["died"]
    assert played.seen["finished"] == FRAMES


def test_review_mouse(blender: InstalledBlender, capture: Capture) -> None:
    """The strip, the buttons beside the list and Looks Fine do with the mouse what the keys do."""
    grey = capture.photos / f"{capture.stems()[3]}.JPG"
    Image.new("RGB", SIZE, (128, 128, 128)).save(grey)
    played = blender.play(SCENARIOS / "review_mouse.py")
    assert 4 in played.seen["listed"]
    assert changed(photo_on(played, "strip", SIZE), photo_on(played, "grey", SIZE)).mean() > 0.5


def test_review(blender: InstalledBlender, capture: Capture) -> None:
    """A photo without the chair is listed. An edited mask counts as corrected until it is undone."""
    grey = capture.photos / f"{capture.stems()[3]}.JPG"
    Image.new("RGB", SIZE, (128, 128, 128)).save(grey)
    played = blender.play(SCENARIOS / "review.py")
    # While the propagation runs, both strips show what is done, and Blender's own number stays free.
    with Image.open(played.folder / "live.png") as picture:
        live = np.asarray(picture.convert("L"), dtype=np.float32)
    # Another mask may have come in while the picture was taken.
    done, later = played.seen["done"], played.seen["later"]
    assert 0 < len(done) <= len(later) < FRAMES
    for strip in (0, 1):
        places = {int(at): cells[strip] for at, cells in played.seen["cells"].items()}
        light = {at: live[round(y), round(x)] for at, (x, y) in places.items()}
        # The playhead is on frame 5.
        finished = [light[at] for at in light if at in done and at != 5]
        waiting = [light[at] for at in light if at not in later and at != 5]
        assert min(finished) > max(waiting) + 20, f"strip {strip}: {light}"
    states = played.seen["states"]
    assert sorted(map(int, states)) == list(range(1, FRAMES + 1))
    assert states["4"] in ("absent", "doubtful")
    assert states["1"] == "good"
    edited, restored = (photo_on(played, name, SIZE) for name in ("edited", "restored"))
    assert changed(edited, restored).mean() > 0.02, (
        "the edited mask is not drawn where it was moved"
    )


def test_two_subjects(blender: InstalledBlender) -> None:
    """Both masks are shown as SAM 2 made them, and each line of the list has one short reason."""
    capture = make_capture(blender.session / "two_subjects", 12)
    grey = capture.photos / f"{capture.stems()[3]}.JPG"
    Image.new("RGB", SIZE, (128, 128, 128)).save(grey)
    played = blender.play(SCENARIOS / "two_subjects.py", screen=(1366, 768))
    listed = played.seen["listed"]
    assert 4 in [frame for frame, _ in listed]
    for _, reason in listed:
        assert reason and len(reason) < 24 and not set("0123456789%,") & set(reason[1:3])


def test_own_work(played: Played, capture: Capture) -> None:
    """Contours that are deleted or drawn on one photo change only that photo, in Blender and in PNGs."""
    assert played.seen["corrected"] == [3, 4]
    baked = [sorted((capture.photos / f"postshot_v00{n}").glob("*.png")) for n in (1, 2, 3)]
    assert [len(images) for images in baked] == [FRAMES] * 3
    alphas = [[np.asarray(Image.open(path))[..., 3] > 127 for path in images] for images in baked]
    for index in range(FRAMES):
        same = np.array_equal(alphas[0][index], alphas[1][index])
        assert same == (index not in (2, 3)), f"frame {index + 1}"
    drawn = alphas[1][2] & ~alphas[0][2]
    assert drawn[45:95, 45:95].all(), "the square that was drawn is not baked"
    assert not alphas[1][3].any()
    assert np.array_equal(alphas[1][2], alphas[2][2])
    assert not np.array_equal(alphas[1][4], alphas[2][4]), "the second run changed nothing"
    shown = photo_on(played, "after_undo", SIZE)
    assert shown.shape == (SIZE[1], SIZE[0], 3)


def test_brush(played: Played, capture: Capture) -> None:
    """Strokes paint and erase on one photo alone, show at once, are kept, baked and learnt from."""
    assert played.seen["kept"] > 0.999 and played.seen["learnt"] > 0.999
    assert played.seen["thin"] > 0.95
    # Those that matter. Every pixel of the edge would be about 2,000.
    assert played.seen["splines"] < 20 and played.seen["points"] < 200
    during, painted = (photo_on(played, name, SIZE) for name in ("stroke", "painted"))
    before = photo_on(played, "size", SIZE)
    assert changed(before, during)[90, 70:150].all(), "the stroke does not show at once"
    assert changed(before, painted)[90, 70:150].all()
    for bake in (1, 2):
        path = sorted((capture.photos / f"postshot_v00{bake}").glob("*.png"))[2]
        alpha = np.asarray(Image.open(path))[..., 3] > 127
        assert alpha[90, 70:100].all() and alpha[90, 140:150].all(), bake
        assert not alpha[90, 118:122].any(), bake
        assert alpha[199:202, 70:110].any(axis=0).all(), "the thin line is lost"
        assert not alpha[444, 304:308].any(), "the hole is lost"


def test_more_clicks(played: Played, capture: Capture) -> None:
    """Exclude without Alt, lines, numbers, a preview under the mouse, and the mask before."""
    assert 1 <= played.seen["asked"] < played.seen["moves"]
    bare, hover = (photo_on(played, name, SIZE) for name in ("bare", "hover"))
    chair = capture.truth_of(capture.stems()[0])
    assert iou(changed(bare, hover), chair) > 0.3
