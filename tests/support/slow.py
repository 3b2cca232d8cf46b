"""Which of many cases run every time, and which only where there is time: in .ci/run, or with ``-m slow``."""

import pytest

__all__ = ["slow_but"]


def slow_but(cases, quick):
    """Parameters of a test, all of them slow but for some.

    Args:
        cases: All cases; those that are tuples are several parameters.
        quick: Whether a case runs every time.
    """
    marked = [(case, () if quick(case) else pytest.mark.slow) for case in cases]
    return [pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=marks) for case, marks in marked]
