"""Tries every flag of every command with values of every kind, and counts what is against the contract of the command line.

    python tests/fuzz/flags.py --inputs 10000

The contract: one to three lines and status 2, or the command begins its work; no traceback, and no error that should not happen.
"""

import argparse
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from flag_inputs import KINDS_OF_USE, all_flags, arguments_of, command_line


def main() -> int:
    """Prints how many inputs of each kind there were, how they ended, and each defect once; the status is 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", nargs="*", help="only these")
    options = parser.parse_args()
    kinds, ends, defects = Counter(), Counter(), {}
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder, command_line(folder) as run:
        uses = [(command, flag, kind) for command, flags in all_flags().items() for flag in [*flags, ""] for kind in KINDS_OF_USE]
        uses = [use for use in uses if not options.commands or use[0] in options.commands]
        print(f"{len(uses)} uses: {len(uses) // len(KINDS_OF_USE)} flags of {len({use[0] for use in uses})} commands", flush=True)
        for number in range(options.inputs):
            use = uses[number % len(uses)]
            arguments = arguments_of(*use, rng)
            outcome = run(arguments)
            kinds[use[2]] += 1
            ends[{None: "accepted", 0: "done"}.get(outcome.status, f"status {outcome.status}")] += 1
            if fault := outcome.defect():
                _tell(defects, arguments, f"{fault}: {outcome.said[-400:]!r}")
    print("inputs by kind:", dict(kinds))
    print("ended:", dict(ends))
    print("defects:", len(defects))
    return 1 if defects else 0


def _tell(defects: dict[str, list[str]], arguments: list[str], fault: str) -> None:
    short = [each if len(each) < 60 else f"{each[:50]}..." for each in arguments]
    if fault[:120] not in defects:
        print(f"DEFECT {short}\n  {fault}".encode("utf-8", "backslashreplace").decode(), flush=True)
    defects.setdefault(fault[:120], short)


if __name__ == "__main__":
    raise SystemExit(main())
