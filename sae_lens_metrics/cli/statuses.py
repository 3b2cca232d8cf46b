"""The statuses that a command ends with, each with what it means."""

__all__ = ["DONE", "ENDINGS", "OUTSIDE", "REFUSED", "SOME_FAILED", "UNEXPECTED", "statuses_in_words"]

DONE = 0
UNEXPECTED = 1
REFUSED = 2
SOME_FAILED = 3
OUTSIDE = 4

ENDINGS = {
    DONE: "done",
    UNEXPECTED: "an error that should not happen: one line names a file with all that is known of it; or nobody reads what is printed",
    REFUSED: "a mistake in what was given, or what was given cannot be read, evaluated or written: one sentence says what to do",
    SOME_FAILED: "some SAEs, metrics or files failed, which is said; all the others are there, and are kept when it is started again",
    OUTSIDE: "of reproduce: some figures are outside their bands, some findings do not show, or some cannot be checked, which is said",
    130: "interrupted (Ctrl-C)",
    143: "terminated (SIGTERM)",
}
"""What each status says; signals give 128 and their number."""


def statuses_in_words() -> str:
    """A line for each status, as ``--help`` shows them."""
    return "\n".join(f"  {status:<10}  {meaning}" for status, meaning in ENDINGS.items())
