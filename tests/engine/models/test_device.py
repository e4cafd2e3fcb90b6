# SPDX-License-Identifier: GPL-3.0-or-later
"""Choice of device, number format and threads."""

from __future__ import annotations

import pytest
import torch

from sam2_splat_addon.core.errors import EnvironmentSetupError
from sam2_splat_addon.engine.models.bfloat16_probe import is_quicker_in_bfloat16
from sam2_splat_addon.engine.models.device import choose_device, use_threads


def test_the_cpu_computes_in_float32_and_the_reason_says_so() -> None:
    choice = choose_device("cpu")
    assert choice.device == torch.device("cpu")
    assert choice.dtype_name == "float32"
    assert choice.name == "cpu"
    assert "CPU in float32" in choice.reason
    with choice.computing():
        assert torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu")
    assert not torch.is_inference_mode_enabled()


def test_auto_takes_a_gpu_where_there_is_one_and_else_the_cpu() -> None:
    gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    assert (choose_device("auto").device.type != "cpu") == gpu


def test_a_processors_number_format_is_timed_or_chosen_and_the_log_names_it() -> None:
    assert choose_device("cpu", "bfloat16").multiplies_in_bfloat16
    assert not choose_device("cpu", "float32").multiplies_in_bfloat16
    assert "bfloat16" in choose_device("cpu", "bfloat16").reason
    assert torch.__version__ in choose_device("cpu").reason  # with the build: +cpu or +cu130
    timed = choose_device("cpu", "automatic")
    assert timed.multiplies_in_bfloat16 == is_quicker_in_bfloat16()
    with choose_device("cpu", "bfloat16").computing():
        assert not torch.is_autocast_enabled("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_is_a_clear_error() -> None:
    with pytest.raises(EnvironmentSetupError, match=r"No NVIDIA GPU.*Choose Auto or CPU"):
        choose_device("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
def test_cuda_computes_in_bfloat16_where_the_gpu_can() -> None:
    choice = choose_device("cuda")
    assert choice.name.startswith("cuda: ")
    assert (choice.dtype is torch.bfloat16) == (torch.cuda.get_device_capability() >= (8, 0))


def test_an_unknown_device_is_a_clear_error() -> None:
    with pytest.raises(EnvironmentSetupError, match="no device called 'tpu'"):
        choose_device("tpu")


def test_one_requests_threads_do_not_stick_to_the_next() -> None:
    before = torch.get_num_threads()
    try:
        default = use_threads(0)
        assert use_threads(default + 1) == torch.get_num_threads() == default + 1
        assert use_threads(0) == default
    finally:
        torch.set_num_threads(before)
