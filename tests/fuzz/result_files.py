"""Damages result files in thousands of ways, and counts how many of them do anything else than be read or be refused in a sentence.

    python tests/fuzz/result_files.py --inputs 10000 [--seed 0] [--file REAL.json ...]

Each input is a whole result file with one damage, in turn of every kind, on every base, with every value in the place of another one.
Prints a table of what came of them by kind, and the first defects; the exit status is 1 where there are any.
"""

import argparse
import gzip
import json
import sys
import tempfile
import traceback
from collections import Counter
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path
from random import Random
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))


from any_result import outcome
from damage import KINDS, VALUES, bases, damaged, written

from sae_lens_metrics.metrics import registry
from sae_lens_metrics.views.page import parts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000, help="how many files")
    parser.add_argument("--seed", type=int, default=0, help="another seed damages otherwise")
    parser.add_argument("--file", action="append", default=[], help="a real result file to damage, too")
    parser.add_argument("--shown", type=int, default=5, help="how many defects are printed with their traceback")
    parser.add_argument("--page", type=int, default=5, help="of how many files that can be read one is made a page of")
    options = parser.parse_args()
    _remember()
    wholes = [*bases(), *(json.loads(Path(path).read_text(encoding="utf-8")) for path in options.file)]
    found, defects = Counter(), Counter()
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.json"
        whole.write_bytes(written(wholes[0]))
        for number, (kind, content) in enumerate(islice(_inputs(wholes, options.seed), options.inputs)):
            file = Path(folder) / "damaged.json"
            file.write_bytes(content)
            try:
                found[kind, outcome(file, whole, page=number % options.page == 0)] += 1
            except Exception as error:  # anything at all is a defect here
                found[kind, "defect"] += 1
                where = traceback.extract_tb(error.__traceback__)[-1]
                defects[f"{type(error).__name__} in {Path(where.filename).name}:{where.lineno}: {str(error)[:200]}"] += 1
                if sum(defects.values()) <= options.shown:
                    print("".join(traceback.format_exception(error))[-3000:], content[:200], sep="\n", flush=True)
    _print(found, defects)
    return 1 if defects else 0


def _remember() -> None:
    """What is the same for every input is found or packed once: the installed packages, and the library that draws figures."""
    registry.entry_points = cache(registry.entry_points)
    parts.gzip = SimpleNamespace(compress=lru_cache(64)(gzip.compress))


def _inputs(wholes, seed):
    number = 0
    while True:
        for base in range(len(wholes)):
            for kind in KINDS:
                draw = Random(f"{seed} {number}")
                number += 1
                yield kind, damaged(wholes[base], kind, draw.choice(VALUES), draw.randrange(2**32))


def _print(found: Counter, defects: Counter) -> None:
    print(f"{'kind':<16}{'inputs':>8}{'read':>8}{'refused':>8}{'defect':>8}")
    for kind in KINDS:
        counts = [found[kind, what] for what in ("read", "refused", "defect")]
        print(f"{kind:<16}{sum(counts):>8}{counts[0]:>8}{counts[1]:>8}{counts[2]:>8}")
    print(f"{'all':<16}{sum(found.values()):>8}; {len(defects)} different defects")
    for text, count in defects.most_common():
        print(f"{count:>6}  {text}")


if __name__ == "__main__":
    sys.exit(main())
