# SPDX-License-Identifier: GPL-3.0-or-later
"""The official SAM 2.1 checkpoints: names, addresses, sizes and check sums.

Source: the table of checkpoints in the SAM 2 repository (Apache-2.0), release of 29 September 2024.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

# The weights of the bundled model come with the add-on.
BUNDLED_WEIGHTS: Final = Path(__file__).parent.parent / "engine" / "weights" / "bundled.safetensors"

_ADDRESS = "https://dl.fbaipublicfiles.com/segment_anything_2/092824/"


@dataclass(frozen=True)
class Checkpoint:
    """One official checkpoint.

    Attributes
    ----------
    name
        Name of the configuration; the file is ``<name>.pt``.
    bytes
        Size of the file.
    sha256
        Check sum of the file, hex.
    """

    name: str
    bytes: int
    sha256: str

    @property
    def file_name(self) -> str:
        """Published name of the file."""
        return f"{self.name}.pt"

    @property
    def url(self) -> str:
        """Address of the file."""
        return _ADDRESS + self.file_name


CHECKPOINTS = {
    entry.name: entry
    for entry in (
        Checkpoint(
            "sam2.1_hiera_tiny",
            156008466,
            "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
        ),
        Checkpoint(
            "sam2.1_hiera_small",
            184416285,
            "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
        ),
        Checkpoint(
            "sam2.1_hiera_base_plus",
            323606802,
            "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
        ),
        Checkpoint(
            "sam2.1_hiera_large",
            898083611,
            "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
        ),
    )
}
