# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare reading and writing of photos with Pillow's and OpenCV's, in one run.

    python tools/research/bench/photos.py [--parts headers shrink bake] [--json FILE]
    python tools/research/bench/photos.py --photo-size 1200x800 --count 200      # quick, to try it

Headers of 5,000 JPEGs, two JPEGs of 54 megapixels made small for models of 512 and 1024 px, and the bake
of both. One JPEG is smooth and has 3 MB; the other has the detail of a camera and 22 MB. Everything runs
on one thread, and the times are of the processor. "faster" compares with the first row of a task, which
is ours: 0.50 takes twice as long.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from tools.research.bench import command

_PARTS = ("headers", "shrink", "bake")


def _measure(options: argparse.Namespace) -> None:
    from tools.research.bench.timing import photos
    from tools.research.bench.timing.long_footage import parsed_size
    from tools.research.bench.timing.rows import Row, table

    rows: list[Row] = []
    small = sorted((ROOT / "sample" / "photos").iterdir())
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        if "headers" in options.parts:
            rows += photos.headers(small[0], options.count, Path(scratch))
        if {"shrink", "bake"} & set(options.parts):
            large = photos.large_photos(small, Path(scratch), *parsed_size(options.photo_size))
            for photo in (*large, *options.photo):
                rows += photos.shrinking(photo) if "shrink" in options.parts else []
                rows += photos.bakes(photo) if "bake" in options.parts else []
    print(table(rows))
    command.write_json(options.json, rows)


def main() -> int:
    """Measure what the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=list(_PARTS))
    parser.add_argument("--count", type=int, default=5000, help="of the JPEGs with headers")
    parser.add_argument("--photo-size", default="6000x9000", metavar="WxH")
    parser.add_argument("--photo", type=Path, nargs="+", default=[], help="further JPEGs")
    parser.add_argument("--scratch", type=Path, help="where temporary files go")
    parser.add_argument("--json", type=Path, help="write the rows here too")
    return command.run(_measure, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
