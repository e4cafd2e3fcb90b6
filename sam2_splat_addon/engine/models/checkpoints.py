# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoints: find them, check a file, and load a model from it.

A checkpoint is untrusted input. Pickles are only read with ``weights_only=True``.
"""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import safetensors
import torch
from safetensors.torch import load_file
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor

from ...core.checkpoint_catalogue import CHECKPOINTS, Checkpoint
from ...core.errors import CheckpointError
from ...core.system.safe_read import is_there
from .architectures import BUNDLED, MODEL_NAMES, build, own_size
from .bundled_model import BUNDLED_WEIGHTS
from .prepare import prepare

_CHUNK: Final = 1 << 20  # bytes hashed at a time


@dataclass(frozen=True)
class LoadedModel:
    """A model with its weights, ready to run.

    Attributes
    ----------
    model
        In eval mode, float32, on its device.
    name
        Name of the architecture, one of `architectures.MODEL_NAMES`.
    sha256
        SHA-256 of the checkpoint file.
    warnings
        What the user should know about the file.
    """

    model: SAM2Base
    name: str
    sha256: str
    warnings: tuple[str, ...] = ()


# Sums by path, size and modification time, for this process: a large file takes seconds to hash.
_digests: dict[tuple[Path, int, int], str] = {}


def sha256_of(path: Path, on_progress: Callable[[float], None] = lambda _: None) -> str:
    """Hash a file.

    Parameters
    ----------
    path
        The file.
    on_progress
        Gets the fraction done.

    Raises
    ------
    CheckpointError
        The file can't be read.
    """
    try:
        status = path.stat()
        known = (path, status.st_size, status.st_mtime_ns)
        if known in _digests:
            return _digests[known]
        digest, done = hashlib.sha256(), 0
        with path.open("rb") as stream:
            while block := stream.read(_CHUNK):
                digest.update(block)
                done += len(block)
                on_progress(done / status.st_size)
    except FileNotFoundError as error:
        raise _missing(path) from error
    except OSError as error:
        raise CheckpointError(
            f"The checkpoint {path} can't be read: {error.strerror}.", "Check the file."
        ) from error
    _digests[known] = digest.hexdigest()
    return _digests[known]


def verify(
    path: Path, entry: Checkpoint, on_progress: Callable[[float], None] = lambda _: None
) -> str:
    """Check that a file is the official checkpoint, and return its SHA-256.

    Raises
    ------
    CheckpointError
        The file is missing, or has another size or another sum.
    """
    if not (is_there(path) and path.is_file()):
        raise _missing(path, entry)
    size = path.stat().st_size
    if size != entry.bytes:
        what = "was not downloaded whole" if size < entry.bytes else "is not the official file"
        raise CheckpointError(
            f"The checkpoint {path} {what}: it has {size} of {entry.bytes} bytes.",
            f"Delete it and download it again from {entry.url}.",
        )
    found = sha256_of(path, on_progress)
    if found != entry.sha256:
        raise CheckpointError(
            f"The checkpoint {path} is damaged or changed: its sha-256 is {found[:12]}..., not"
            f" {entry.sha256[:12]}....",
            f"Delete it and download it again from {entry.url}.",
        )
    return found


def checkpoint_path(name: str, checkpoint: Path | str | None) -> Path:
    """Return the file with the model's weights: the given one, or the bundled one.

    Raises
    ------
    CheckpointError
        No file was given, or it does not exist.
    """
    entry = CHECKPOINTS.get(name)
    if checkpoint:
        path = Path(checkpoint)
    elif name == BUNDLED:
        path = BUNDLED_WEIGHTS
    elif entry is None:
        raise CheckpointError(
            f"There is no model called {name!r}.", f"Choose one of {', '.join(MODEL_NAMES)}."
        )
    else:
        raise CheckpointError(
            f"{name} needs a checkpoint file.",
            f"Download it in the add-on's preferences, or from {entry.url}.",
        )
    if not (is_there(path) and path.is_file()):
        raise _missing(path, entry)
    return path


def load_model(
    name: str,
    checkpoint: Path | None,
    device: torch.device,
    *,
    image_size: int | None = None,
    on_progress: Callable[[float], None] = lambda _: None,
) -> LoadedModel:
    """Build a model and fill it with a checkpoint's weights.

    Parameters
    ----------
    name
        One of `architectures.MODEL_NAMES`.
    checkpoint
        An official ``.pt`` (``{"model": state_dict}``) or a ``.safetensors``. None takes the
        bundled weights. Other weights that fit the model are accepted with a warning, so fine-tuned
        weights can be used.
    device
        Where the model is put.
    image_size
        Side of the model's input, px. None takes the model's own size.
    on_progress
        Gets the fraction of the file that is checked.

    Returns
    -------
    LoadedModel
        The model, ready to run.

    Raises
    ------
    CheckpointError
        There is no such model. Or the file is missing, cut off, not a checkpoint, or made for
        another model.

    Examples
    --------
    >>> loaded = load_model("bundled", None, torch.device("cpu"))
    >>> loaded.model.image_size
    512
    >>> loaded.warnings
    ()
    """
    path = checkpoint_path(name, checkpoint)
    own_size(name)  # raises for an unknown name
    entry = CHECKPOINTS.get(name)
    if entry is not None and path.name == entry.file_name and path.stat().st_size < entry.bytes:
        verify(path, entry)  # says what is wrong before the slow reading
    digest = sha256_of(path, on_progress)
    weights = _read_weights(path)
    model = build(name, image_size=image_size)
    _fill(model, weights, name, path)
    warnings: tuple[str, ...] = ()
    if entry is not None and digest != entry.sha256:
        warnings = (
            f"{path.name} is not the official {name} checkpoint (sha-256 {digest[:12]}...)."
            " It fits the model, so it is used.",
        )
    model = model.to(device)
    prepare(model)
    return LoadedModel(model, name, digest, warnings)


def _missing(path: Path, entry: Checkpoint | None = None) -> CheckpointError:
    fix = "Choose another file, or use the bundled model."
    if path == BUNDLED_WEIGHTS:
        fix = "Install the extension again."
    elif entry is not None:
        fix = f"Download it in the add-on's preferences, or from {entry.url}."
    return CheckpointError(f"The checkpoint {path} does not exist.", fix)


def _read_weights(path: Path) -> Mapping[str, Tensor]:
    """Return the state dict of a file. Tensors stay on disk where the format allows it."""
    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(path)
        content: Any = torch.load(
            path,
            map_location="cpu",
            weights_only=True,
            mmap=zipfile.is_zipfile(path),  # the older format can't be mapped
        )
    except pickle.UnpicklingError as error:  # torch's own message tells the user to trust the file
        raise CheckpointError(
            f"{path} is not a checkpoint, or it is damaged: PyTorch can't read it.",
            "Choose a SAM 2.1 checkpoint (.pt or .safetensors), or download it again.",
        ) from error
    except (safetensors.SafetensorError, EOFError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "it ends too early"
        raise CheckpointError(
            f"{path} is not a checkpoint, or it is damaged: {reason.rstrip('.')}.",
            "Choose a SAM 2.1 checkpoint (.pt or .safetensors), or download it again.",
        ) from error
    except Exception as error:  # damaged bytes can raise anything, even torch's assertions
        raise CheckpointError(
            f"{path} is not a checkpoint, or it is damaged: {error}.",
            "Choose a SAM 2.1 checkpoint (.pt or .safetensors), or download it again.",
        ) from error
    weights = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(w, Tensor) for w in weights.values()):
        raise CheckpointError(
            f"{path} contains no weights of a model.",
            "Choose a SAM 2.1 checkpoint (.pt or .safetensors).",
        )
    return weights


def _fill(model: SAM2Base, weights: Mapping[str, Tensor], name: str, path: Path) -> None:
    """Copy weights into the model, cast to float32; raises CheckpointError when they don't fit."""
    wanted = {key: value.shape for key, value in model.state_dict().items()}
    found = {key: value.shape for key, value in weights.items()}
    if wanted != found:
        other = _looks_like(weights)
        fix = "Choose a checkpoint that was made for this model."
        if _is_lite_1(weights):
            reason = "it was made for the bundled model of an earlier version"
        elif other and other != name:
            reason, fix = f"it looks like {other}", "Choose the model it was made for."
        else:
            reason = _first_difference(wanted, found)
        raise CheckpointError(f"{path} does not fit {name}: {reason}.", fix)
    model.load_state_dict(dict(weights))


def _first_difference(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    key = next(key for key in {**wanted, **found} if wanted.get(key) != found.get(key))
    if key not in found:
        return f"{key} is missing"
    if key not in wanted:
        return f"it has {key}, which the model does not have"
    return f"{key} is {tuple(found[key])}, not {tuple(wanted[key])}"


# The official image encoders, by the channels of the first layer and the number of blocks.
_HIERA_SIZES: Final = {
    (96, 12): "hiera_tiny",
    (96, 16): "hiera_small",
    (112, 24): "hiera_base_plus",
    (144, 48): "hiera_large",
}


def _is_lite_1(weights: Mapping[str, Tensor]) -> bool:
    """Whether these are weights of `sam2-splat-lite-1`. Its trunk had the same names."""
    return (
        "image_encoder.trunk.stem.conv.weight" in weights
        and "sam_prompt_encoder.not_a_point_embed.weight" in weights
    )


def _looks_like(weights: Mapping[str, Tensor]) -> str:
    """Return the name of the model that the weights seem to belong to. Empty if unknown."""
    first = weights.get("image_encoder.trunk.patch_embed.proj.weight")
    if first is None:
        bundled = any(key.startswith("image_encoder.trunk.stages.") for key in weights)
        return BUNDLED if bundled else ""
    prefix = "image_encoder.trunk.blocks."
    blocks = {key.removeprefix(prefix).split(".")[0] for key in weights if key.startswith(prefix)}
    size = _HIERA_SIZES.get((first.shape[0], len(blocks)))
    if size is None:
        return ""
    # SAM 2 of July 2024 lacks the two embeddings that 2.1 added.
    if "no_obj_embed_spatial" not in weights:
        return f"sam2_{size} of the first SAM 2, but only SAM 2.1 is supported"
    return f"sam2.1_{size}"
