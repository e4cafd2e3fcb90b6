# SPDX-License-Identifier: GPL-3.0-or-later
"""Show one frame's masks from its prompts, at once.

A preview reads and encodes the photo with the same code as a propagation. If tracking starts at
this frame, its prompts are decoded without memory. So the preview equals what a propagation writes
there, bit for bit.

If the frame is tracked and then corrected, a small propagation computes it (`correction_preview`).
Sometimes that would take long, or nothing is known of the other frames. Then prompts that say by
themselves where the object is are decoded without memory there too. Such a preview shows how the
prompts are understood, but a propagation may give another matte.

The model, the last frames' features and the last mattes are kept, because they took long.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch
from msgspec.structs import replace

from ...core.edited_prompts import with_edited
from ...core.errors import PromptError
from ...core.mattes.carried import known_carried
from ...core.mattes.store import MatteStore
from ...core.prompts import FramePrompts, PromptSet
from ...core.protocol import PreviewMatte, PreviewRequest, PropagateRequest
from ...core.settings import OBEYING, speed_named
from ...core.upright_prompts import upright_frame, upright_object
from ..accel.folded_neck import set_neck
from ..models import model_cache
from ..models.bfloat16_products import set_products
from ..models.checkpoints import LoadedModel, checkpoint_path, sha256_of
from ..models.device import DeviceChoice, choose_device, use_threads
from ..models.input_spec import model_input
from ..refine.zoom_refine import click_look
from ..tracking.panorama import View, Views, frame_width, is_near, tensors_seen, view_of
from ..tracking.prompt_tensors import PromptTensors
from ..tracking.results import frame_result
from ..tracking.sam2_adapter import ImageFeatures, Prediction, Sam2Adapter, Turns
from ..tracking.session import stop_if
from .correction_preview import CorrectionPreviewer
from .feature_cache import FeatureCache, PhotoKey, photo_key

FEATURES_MB: Final = 128
"""Limit of the kept features: about 6 frames at 1024 px, 24 at 512 px. At least one is always kept."""

OnFirst = Callable[[PreviewMatte], None]

_KEPT_MATTES: Final = 64  # each of 128 KiB at 1024 px


class _Previewer:
    """Answer previews with one model, of one kind.

    The kind is: how it computes, whether photos are exact, and whether clicks are obeyed (see
    `Sam2Adapter`).
    """

    def __init__(
        self,
        loaded: LoadedModel,
        choice: DeviceChoice,
        kind: tuple[DeviceChoice, bool, bool | None],
    ) -> None:
        self.loaded = loaded
        self.kind = kind
        self._choice = choice
        # Only memory needs the number of frames.
        self._steps = Sam2Adapter(loaded.model, frame_count=1, keeps_prompts=kind[2])
        self._features = FeatureCache(FEATURES_MB << 20, exact=kind[1])
        self._corrected = CorrectionPreviewer(loaded, choice, self._features)
        self._mattes: OrderedDict[tuple[PhotoKey, FramePrompts], PreviewMatte] = OrderedDict()
        self._has_answered = False
        # One more click asks the model once more, not once for each click.
        self._turns: dict[PhotoKey, Turns] = {}

    def mattes(
        self,
        request: PreviewRequest,
        prompts: PromptSet,
        dropped: Callable[[], bool],
        on_first: OnFirst | None,
    ) -> tuple[PreviewMatte, ...]:
        """Return the mattes of all objects of ``prompts``, which contains only this frame."""
        wide = frame_width(request.sizes.upright, panorama=request.settings.panorama)
        raw = request.settings.raw_photos
        photo = photo_key(request.photo, wide, raw)
        with self._choice.computing():
            views = self._features.views(request.photo, wide, raw, self._steps, dropped)
            if not prompts.objects:
                self._get_ready(views.at(View()), dropped)
            return tuple(
                self._matte(entry.id, entry.frames[0], photo, views, request, dropped, on_first)
                for entry in prompts.objects
            )

    def _get_ready(self, image: ImageFeatures, dropped: Callable[[], bool]) -> None:
        """Answer a click that nobody made, once: a model's first answer takes longest."""
        if self._has_answered:
            return
        stop_if(dropped)
        side = self.loaded.model.image_size
        middle = PromptTensors(
            torch.full((1, 1, 2), side / 2, device=self._choice.device),
            torch.ones((1, 1), dtype=torch.int32, device=self._choice.device),
            None,
        )
        self._steps.condition(0, image, middle, {})
        self._has_answered = True

    def corrected(
        self, request: PreviewRequest, threads: int, dropped: Callable[[], bool]
    ) -> tuple[PreviewMatte, ...]:
        """Return the mattes of the objects that are tracked to the frame and then corrected."""
        given = {
            entry.id: prompts
            for entry in request.prompts.objects
            for prompts in entry.frames
            if prompts.frame == request.frame and not prompts.is_empty
        }
        if request.propagation is None or not given:
            return ()
        # Objects don't influence each other. So a fault in another object must not hide these.
        every = request.propagation.prompts
        own = tuple(entry for entry in every.objects if entry.id in given)
        wish = replace(request.propagation, prompts=replace(every, objects=own))
        try:
            wish = replace(wish, carried=_carried(wish))
            return self._corrected.mattes(wish, request.frame, given, threads, dropped)
        except PromptError:
            if not all(prompts.includes_something for prompts in given.values()):
                raise
            return ()  # a fault on other frames: Propagate will report it

    def _matte(
        self,
        object_id: int,
        prompts: FramePrompts,
        photo: PhotoKey,
        views: Views,
        request: PreviewRequest,
        dropped: Callable[[], bool],
        on_first: OnFirst | None,
    ) -> PreviewMatte:
        side, device = self.loaded.model.image_size, self._choice.device
        shape = request.sizes.shape(prompts.frame)
        size, prompts = shape.upright, upright_frame(prompts, shape)
        view = View()
        if request.settings.panorama:
            every = next(entry for entry in request.prompts.objects if entry.id == object_id)
            turned = upright_object(every, request.sizes)
            near = is_near(turned.frames, request.sizes.upright, panorama=True)
            view = view_of(prompts, size[0], side, near=near)
        key = ((*photo[:5], view), prompts)
        if key not in self._mattes:
            stop_if(dropped)
            self._has_answered = True
            look = click_look(
                self._steps,
                lambda _index, part, _mirrored: self._features.close_up(
                    photo[0], part, photo[4], self._steps
                ),
                request.sizes.upright,
                self._choice,
                panorama=request.settings.panorama,
                cancelled=dropped,
            )
            tensors = tensors_seen(prompts, size, view, side, device)
            turns = self._turns.setdefault(key[0], {})
            image = views.at(view)
            prediction = self._steps.condition(prompts.frame - 1, image, tensors, turns)

            def matte_of(prediction: Prediction) -> PreviewMatte:
                result = frame_result(
                    object_id, prompts.frame, prediction, prompted=True, view=view
                )
                logits = shape.mask_to_stored(result.half_logits())
                return PreviewMatte.of(object_id, logits, result.scores)

            if look is not None and tensors.mask is None:
                if on_first is not None:
                    on_first(matte_of(prediction))
                prediction = look(prediction, prompts)
            self._mattes[key] = matte_of(prediction)
            if len(self._mattes) > _KEPT_MATTES:
                self._mattes.popitem(last=False)
            if len(self._turns) > _KEPT_MATTES:
                self._turns.pop(next(iter(self._turns)))
        self._mattes.move_to_end(key)
        # The kept matte may belong to another object with the same prompts.
        return replace(self._mattes[key], object_id=object_id)


_previewer: _Previewer | None = None


def run(
    request: PreviewRequest,
    dropped: Callable[[], bool],
    image_size: int = 0,
    on_first: OnFirst | None = None,
) -> tuple[PreviewMatte, ...]:
    """Segment one frame from its prompts.

    Parameters
    ----------
    request
        See :class:`PreviewRequest`. If its frame has no prompts, everything is made ready, and
        there are no mattes.
    dropped
        Called between steps. True means that nobody waits for the answer any more.
    image_size
        As in `propagate.run`.
    on_first
        Gets the matte of an object as soon as the whole photo was looked at, if a closer look
        follows. So the user sees a mask at half the time.

    Returns
    -------
    tuple of PreviewMatte
        The mattes of the objects on this frame.

    Raises
    ------
    SplatError
        The prompts, the model, the device or the photo are wrong.
    Cancelled
        ``dropped`` returned True.

    Examples
    --------
    >>> click = FramePrompts(1, points=(PointPrompt(420.5, 310.5),))
    >>> request = PreviewRequest(
    ...     photo="photos/IMG_0001.JPG",
    ...     width=6000,
    ...     height=4000,
    ...     frame=1,
    ...     prompts=PromptSet((ObjectPrompts(1, "Chair", (click,)),)),
    ...     model=ModelChoice("bundled"),
    ... )
    >>> (matte,) = run(request, lambda: False)
    >>> matte.array().shape
    (128, 128)
    """
    global _previewer
    prompts = _prompts_of_frame(request)
    seen = model_input(request.model.name, speed_named(request.settings.speed), image_size)
    threads = use_threads(request.model.threads)
    choice = choose_device(request.model.device, request.settings.precision)
    digest = sha256_of(checkpoint_path(request.model.name, request.model.checkpoint))
    stop_if(dropped)
    loaded = model_cache.shared.get(request.model, digest, choice.device, seen.size, lambda _: None)
    set_neck(loaded.model, folded=choice.device.type == "cpu")  # as a propagation has it
    set_products(loaded.model, bfloat16=choice.multiplies_in_bfloat16)
    kind = (choice, seen.exact, OBEYING[request.settings.obey_clicks])
    if _previewer is None or _previewer.loaded is not loaded or _previewer.kind != kind:
        _previewer = _Previewer(loaded, choice, kind)
    stop_if(dropped)
    if not request.photo:
        return ()
    corrected = _previewer.corrected(request, threads, dropped)
    known = {matte.object_id for matte in corrected}
    rest = tuple(entry for entry in prompts.objects if entry.id not in known)
    return _previewer.mattes(request, replace(prompts, objects=rest), dropped, on_first) + corrected


def _carried(request: PropagateRequest) -> PromptSet:
    """Return the clicks that the last propagation has carried from the same anchors."""
    if request.settings.carry_clicks == "off" or request.settings.panorama:
        return PromptSet(())
    footage = request.footage
    prompts = with_edited(request.prompts, request.edited, footage.sizes)
    prompts = prompts.checked(footage.sizes, len(footage.paths))
    return known_carried(MatteStore(Path(request.store)), prompts)


def _prompts_of_frame(request: PreviewRequest) -> PromptSet:
    """Return the prompts that include objects on this frame, checked as for a propagation."""
    objects = []
    for entry in request.prompts.objects:
        frames = tuple(
            prompts
            for prompts in entry.frames
            if prompts.frame == request.frame and prompts.includes_something
        )
        if frames:
            objects.append(replace(entry, frames=frames))
    if not objects:
        return PromptSet(())
    prompts = replace(request.prompts, objects=tuple(objects))
    return prompts.checked(request.sizes, request.frame)
