"""The errors that the library raises; each message says what was wrong, what was expected and what to do."""

__all__ = [
    "ConfigError",
    "CorpusError",
    "ExplanationError",
    "MetricCheckError",
    "MetricsError",
    "ProcessLostError",
    "PublishError",
    "ResultError",
    "SubjectError",
    "UnsupportedSAEError",
]


class MetricsError(ValueError):
    """Base of all errors that the library raises on purpose."""


class ConfigError(MetricsError):
    """A setting is unknown, out of range, or contradicts another one."""


class CorpusError(MetricsError):
    """The evaluation text is missing, too short, or not in a form that can be read."""


class SubjectError(MetricsError):
    """The model and the SAE do not fit together, or give values that cannot be evaluated."""


class UnsupportedSAEError(SubjectError):
    """The SAE's architecture cannot be evaluated yet."""


class ExplanationError(MetricsError):
    """Latents cannot be explained with what was given, or the explanations at hand belong to something else."""


class ResultError(MetricsError):
    """A result file is damaged, or of a version that cannot be read."""


class PublishError(MetricsError):
    """Results cannot be sent to the hub, or read from there: no login, no rights, no network, or no such repository."""


class MetricCheckError(MetricsError):
    """A metric does not keep what every metric promises; ``check_metric`` says what."""


class ProcessLostError(Exception):
    """Another process that works on the same evaluation has ended; like an interrupt, it is no error of an SAE or a metric."""
