# SPDX-License-Identifier: GPL-3.0-or-later
"""Attack the add-on and print a table of the results; exit code 1 on any fault.

python tools/attack.py                    # all of them; takes hours
python tools/attack.py --power            # one group; see --list
python tools/attack.py --kills --count 10 --seed 3
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.attacks import ATTACKS, Attack, Outcome

MODULES = ("fuzz", "kills", "power")
_MOST_FAULTS = 12  # how many faults of one attack are printed


def main() -> int:
    for module in MODULES:
        importlib.import_module(f"tools.attacks.{module}")
    groups = sorted({attack.group for attack in ATTACKS})
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for group in groups:
        parser.add_argument(
            f"--{group}", action="store_true", help=f"only the {group} (and others named)"
        )
    parser.add_argument(
        "--count", type=int, default=0, help="tries of each; 0: the attack's own number"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="scratch folder, on the disk to test")
    parser.add_argument("--list", action="store_true", help="list the attacks")
    options = parser.parse_args()
    chosen = [group for group in groups if getattr(options, group)] or groups
    attacks = [attack for attack in ATTACKS if attack.group in chosen]
    if options.list:
        for attack in attacks:
            print(f"--{attack.group}: {attack.name}, {attack.count} times")
        return 0
    rows = []
    for attack in attacks:
        print(f"{attack.name} ...", flush=True)
        rows.append((attack, *_tried(attack, options.count or attack.count, options)))
    print(f"\n{'attack':46} {'tried':>6} {'faults':>7} {'s':>7}")
    for attack, outcome, seconds in rows:
        faults = "skipped" if outcome.skipped else str(len(outcome.faults))
        note = outcome.skipped or outcome.note
        print(f"{attack.name:46} {outcome.tried:6} {faults:>7} {seconds:7.0f}  {note}".rstrip())
    for attack, outcome, _ in rows:
        for fault in outcome.faults[:_MOST_FAULTS]:
            print(f"FAULT {attack.name}: {fault}")
        if len(outcome.faults) > _MOST_FAULTS:
            print(f"FAULT {attack.name}: and {len(outcome.faults) - _MOST_FAULTS} more")
    return 1 if any(outcome.faults for _, outcome, _ in rows) else 0


def _tried(attack: Attack, count: int, options: argparse.Namespace) -> tuple[Outcome, float]:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="attack_", dir=options.folder) as folder:
        try:
            outcome = attack.run(count, Path(folder) / "work", options.seed)
        except Exception as error:  # noqa: BLE001 - an attack that breaks off counts as a fault
            outcome = Outcome(faults=[f"the attack itself failed: {type(error).__name__}: {error}"])
    return outcome, time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
