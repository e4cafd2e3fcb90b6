# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoint files: good, damaged, wrong and hostile ones."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sam2_splat_addon.core.checkpoint_catalogue import CHECKPOINTS, Checkpoint
from sam2_splat_addon.core.errors import CheckpointError
from sam2_splat_addon.engine.models.architectures import BUNDLED, OFFICIAL_CONFIGS, build
from sam2_splat_addon.engine.models.checkpoints import (
    checkpoint_path,
    load_model,
    sha256_of,
    verify,
)

_CPU = torch.device("cpu")
_TINY = "sam2.1_hiera_tiny"


@pytest.fixture(scope="module")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the published form, in half precision to save time."""
    torch.manual_seed(1)
    weights = {key: value.half() for key, value in build(_TINY).state_dict().items()}
    path = tmp_path_factory.mktemp("checkpoints") / "mine.pt"
    torch.save({"model": weights}, path)
    return path


def test_the_catalogue_names_the_four_official_checkpoints() -> None:
    assert set(CHECKPOINTS) == set(OFFICIAL_CONFIGS)
    entry = CHECKPOINTS[_TINY]
    assert entry.file_name == "sam2.1_hiera_tiny.pt"
    assert entry.url.startswith("https://dl.fbaipublicfiles.com/segment_anything_2/092824/")
    assert entry.url.endswith(entry.file_name)
    assert all(len(entry.sha256) == 64 for entry in CHECKPOINTS.values())


def test_a_checkpoint_of_ones_own_loads_with_a_warning_and_its_sum(tiny_checkpoint: Path) -> None:
    loaded = load_model(_TINY, tiny_checkpoint, _CPU, image_size=64)
    weights = torch.load(tiny_checkpoint, weights_only=True)["model"]
    for key, value in loaded.model.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, weights[key].float()), key
    assert loaded.sha256 == hashlib.sha256(tiny_checkpoint.read_bytes()).hexdigest()
    assert len(loaded.warnings) == 1
    assert "not the official sam2.1_hiera_tiny" in loaded.warnings[0]
    assert not loaded.model.training


def test_safetensors_load_too(tmp_path: Path) -> None:
    torch.manual_seed(2)
    weights = build(BUNDLED).state_dict()
    path = tmp_path / "bundled.safetensors"
    save_file({key: value.contiguous() for key, value in weights.items()}, path)
    loaded = load_model(BUNDLED, path, _CPU)
    assert all(torch.equal(v, weights[k]) for k, v in loaded.model.state_dict().items())
    assert loaded.warnings == ()


def test_weights_of_another_size_are_named(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"does not fit sam2.1_hiera_small: .* like sam2.1_hiera_tiny"
    ):
        load_model("sam2.1_hiera_small", tiny_checkpoint, _CPU)
    weights = torch.load(tiny_checkpoint, weights_only=True)["model"]
    del weights["no_obj_embed_spatial"]
    older = tmp_path / "sam2_hiera_tiny.pt"
    torch.save({"model": weights}, older)
    with pytest.raises(CheckpointError, match=r"the first SAM 2, .* 2\.1 is supported"):
        load_model(_TINY, older, _CPU)


def test_weights_of_an_earlier_bundled_model_are_told(tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    names = ("image_encoder.trunk.stem.conv.weight", "sam_prompt_encoder.not_a_point_embed.weight")
    torch.save({"model": {name: torch.zeros(2) for name in names}}, path)
    with pytest.raises(CheckpointError, match=r"bundled model of an earlier version\."):
        load_model(BUNDLED, path, _CPU)


def test_weights_of_something_else_name_the_first_difference(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"model": {"layer.weight": torch.zeros(2)}}, path)
    with pytest.raises(CheckpointError, match=r"does not fit bundled: .* is missing"):
        load_model(BUNDLED, path, _CPU)


def test_a_truncated_file_is_told(tiny_checkpoint: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pt"
    cut.write_bytes(tiny_checkpoint.read_bytes()[: 1 << 20])
    with pytest.raises(CheckpointError, match=r"not a checkpoint, or it is damaged"):
        load_model(_TINY, cut, _CPU)
    official = tmp_path / CHECKPOINTS[_TINY].file_name
    official.write_bytes(cut.read_bytes())
    with pytest.raises(CheckpointError, match=r"not downloaded whole: it has 1048576 of 156008466"):
        load_model(_TINY, official, _CPU)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04garbage", b"PK\x03\x04"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_file_that_is_no_checkpoint_is_told(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"is not a checkpoint, or it is damaged"):
        load_model(BUNDLED, path, _CPU)


def test_a_damaged_file_of_the_older_format_is_told(tmp_path: Path) -> None:
    path = tmp_path / "old.pt"
    torch.save({"model": {"w": torch.zeros(4)}}, path, _use_new_zipfile_serialization=False)
    data = bytearray(path.read_bytes())
    # The numbers of its storages stand in the pickle and in a list after it. Here they differ.
    (first, last) = (match.start(1) for match in re.finditer(rb"X.\0\0\0([0-9]{5,})q", data))
    assert first < last
    data[last] = ord("1") + (data[last] == ord("1"))
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"is not a checkpoint, or it is damaged"):
        load_model(BUNDLED, path, _CPU)


class _Hostile:
    def __init__(self, target: Path) -> None:
        self._target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self._target),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    path = tmp_path / "hostile.pt"
    torch.save({"model": _Hostile(ran)}, path)
    plain = tmp_path / "plain.pt"
    plain.write_bytes(pickle.dumps(_Hostile(ran)))
    for file in (path, plain):
        with pytest.raises(CheckpointError, match=r"is not a checkpoint"):
            load_model(BUNDLED, file, _CPU)
    assert not ran.exists()


def test_contents_without_weights_are_told(tmp_path: Path) -> None:
    path = tmp_path / "list.pt"
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="contains no weights"):
        load_model(BUNDLED, path, _CPU)


def test_a_missing_file_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"does not exist.*Download it .* or from https://"):
        checkpoint_path(_TINY, tmp_path / "no.pt")
    with pytest.raises(CheckpointError, match=r"needs a checkpoint file.*or from https://"):
        checkpoint_path(_TINY, "")
    with pytest.raises(CheckpointError, match="no model called 'sam3'"):
        checkpoint_path("sam3", "")


def test_verify_tells_size_and_sum_apart_and_reports_progress(tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    path.write_bytes(b"x" * (3 << 20))
    right = Checkpoint("file", 3 << 20, hashlib.sha256(path.read_bytes()).hexdigest())
    fractions: list[float] = []
    assert verify(path, right, fractions.append) == right.sha256 == sha256_of(path)
    assert fractions == [1 / 3, 2 / 3, 1.0]
    with pytest.raises(CheckpointError, match="is not the official file"):
        verify(path, Checkpoint("file", 5, right.sha256))
    with pytest.raises(CheckpointError, match="was not downloaded whole"):
        verify(path, Checkpoint("file", 4 << 20, right.sha256))
    with pytest.raises(CheckpointError, match="is damaged or changed"):
        verify(path, Checkpoint("file", 3 << 20, "0" * 64))
    with pytest.raises(CheckpointError, match="does not exist"):
        verify(tmp_path / "no.pt", right)
