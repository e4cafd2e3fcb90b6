# SPDX-License-Identifier: GPL-3.0-or-later
"""One frame from its prompts, at once, for the eye; imports core, torch.

The photo is read and encoded by the code that propagation uses, and the prompts of a frame that
tracking starts at are decoded without memory: so a preview equals what propagation writes there,
bit for bit. A frame that is tracked and then corrected is left to a small propagation of its own
(`corrected_preview`). Where that would take long, or nothing is known of the other frames, prompts
that say by themselves where the object is are decoded without memory there too: such a preview
tells how they are understood, and propagation may give another matte. What took long is kept: the
model, the last frames' features, the last mattes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from ...core.errors import PromptError
from ...core.prompts import FramePrompts, PromptSet
from ...core.protocol import PreviewMatte, PreviewRequest
from ...core.settings import OBEYING, speed_named
from ..accel.folded_neck import set_neck
from ..models import model_cache
from ..models.bfloat16_products import set_products
from ..models.checkpoints import LoadedModel, checkpoint_path, sha256_of
from ..models.device import DeviceChoice, choose_device, use_threads
from ..models.input_spec import model_input
from ..tracking.panorama import View, Views, frame_width, is_near, tensors_seen, view_of
from ..tracking.results import frame_result
from ..tracking.sam2_adapter import Sam2Adapter
from ..tracking.session import stop_if
from .correction_preview import CorrectionPreviewer
from .feature_cache import FeatureCache, PhotoKey, photo_key

FEATURES_MB: Final = 128
"""What the kept features may take: about 6 frames at 1024 px, 24 at 512 px; always at least one."""

_KEPT_MATTES: Final = 64  # of 128 KiB at 1024 px


class _Previewer:
    """Answers previews with one model, of one kind.

    That is: how it computes, whether photos are exact, and whether clicks are obeyed, as
    `Sam2Adapter` takes it.
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
        # Nothing but memory asks for the count.
        self._steps = Sam2Adapter(loaded.model, frame_count=1, keeps_prompts=kind[2])
        self._features = FeatureCache(FEATURES_MB << 20, exact=kind[1])
        self._corrected = CorrectionPreviewer(loaded, choice, self._features)
        self._mattes: OrderedDict[tuple[PhotoKey, FramePrompts], PreviewMatte] = OrderedDict()

    def mattes(
        self, request: PreviewRequest, prompts: PromptSet, dropped: Callable[[], bool]
    ) -> tuple[PreviewMatte, ...]:
        """The mattes of all objects of ``prompts``, which has this frame alone."""
        wide = frame_width(request.width, request.height, panorama=request.settings.panorama)
        photo = photo_key(request.photo, wide)
        with self._choice.computing():
            views = self._features.views(request.photo, wide, self._steps, dropped)
            if not prompts.objects:
                views.at(View())
            return tuple(
                self._matte(entry.id, entry.frames[0], photo, views, request, dropped)
                for entry in prompts.objects
            )

    def corrected(
        self, request: PreviewRequest, threads: int, dropped: Callable[[], bool]
    ) -> tuple[PreviewMatte, ...]:
        """The mattes of the objects that are tracked to the frame and then corrected."""
        given = {
            entry.id: prompts
            for entry in request.prompts.objects
            for prompts in entry.frames
            if prompts.frame == request.frame and not prompts.is_empty
        }
        if request.propagation is None or not given:
            return ()
        # Objects change nothing in one another, and a fault in others is no reason to show none.
        every = request.propagation.prompts
        own = tuple(entry for entry in every.objects if entry.id in given)
        wish = replace(request.propagation, prompts=replace(every, objects=own))
        try:
            return self._corrected.mattes(wish, request.frame, given, threads, dropped)
        except PromptError:
            if not all(prompts.includes_something for prompts in given.values()):
                raise
            return ()  # a fault on other frames, which Propagate will name

    def _matte(
        self,
        object_id: int,
        prompts: FramePrompts,
        photo: PhotoKey,
        views: Views,
        request: PreviewRequest,
        dropped: Callable[[], bool],
    ) -> PreviewMatte:
        side, device = self.loaded.model.image_size, self._choice.device
        size = (request.width, request.height)
        view = View()
        if request.settings.panorama:
            every = next(entry for entry in request.prompts.objects if entry.id == object_id)
            near = is_near(every.frames, *size, panorama=True)
            view = view_of(prompts, request.width, side, near=near)
        key = ((*photo[:4], view), prompts)
        if key not in self._mattes:
            stop_if(dropped)
            tensors = tensors_seen(prompts, size, view, side, device)
            prediction = self._steps.condition(prompts.frame - 1, views.at(view), tensors)
            result = frame_result(object_id, prompts.frame, prediction, prompted=True, view=view)
            self._mattes[key] = PreviewMatte.of(object_id, result.half_logits(), result.scores)
            if len(self._mattes) > _KEPT_MATTES:
                self._mattes.popitem(last=False)
        self._mattes.move_to_end(key)
        # Another object may have had the same prompts.
        return replace(self._mattes[key], object_id=object_id)


_previewer: _Previewer | None = None


def run(
    request: PreviewRequest, dropped: Callable[[], bool], image_size: int = 0
) -> tuple[PreviewMatte, ...]:
    """Segment one frame from its prompts.

    Parameters
    ----------
    request
        See :class:`PreviewRequest`; without prompts on its frame, everything is made ready and
        there are no mattes.
    dropped
        Asked between steps: whether nobody waits for the answer any more.
    image_size
        As in `propagate.run`.

    Raises
    ------
    SplatError
        The prompts, the model, the device or the photo are not as they should be.
    Cancelled
        ``dropped`` said so.
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
    corrected = _previewer.corrected(request, threads, dropped)
    known = {matte.object_id for matte in corrected}
    rest = tuple(entry for entry in prompts.objects if entry.id not in known)
    return _previewer.mattes(request, replace(prompts, objects=rest), dropped) + corrected


def _prompts_of_frame(request: PreviewRequest) -> PromptSet:
    """What includes objects on the request's frame, checked as a propagation checks it."""
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
    return prompts.checked(request.width, request.height, request.frame)
