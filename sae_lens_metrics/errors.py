"""The errors that the library raises; each message says what was wrong, what was expected and what to do."""

__all__ = ["ConfigError", "CorpusError", "ResultError", "SubjectError", "UnsupportedSAEError"]


class ConfigError(ValueError):
    """A setting is unknown, out of range, or contradicts another one."""


class CorpusError(ValueError):
    """The evaluation text is missing, too short, or not in a form that can be read."""


class SubjectError(ValueError):
    """The model and the SAE do not fit together, or give values that cannot be evaluated."""


class UnsupportedSAEError(SubjectError):
    """The SAE's architecture cannot be evaluated yet."""


class ResultError(ValueError):
    """A result file is damaged, or of a version that cannot be read."""
