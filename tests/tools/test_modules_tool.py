# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests' other Blenders need is said in a sentence, and nothing is left where it is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.modules import venvs


def test_missing_python_is_named_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(venvs.CACHE_VARIABLE, str(tmp_path))
    with pytest.raises(venvs.NoModuleError) as raised:
        venvs.ready(venvs.Module("9.9.9", "3.99"))
    assert "Python 3.99" in str(raised.value)
    assert not any(tmp_path.iterdir())
