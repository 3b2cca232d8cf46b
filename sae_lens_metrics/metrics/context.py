"""What a metric is given: the subject, the text, its settings, and what other metrics of the same run have found out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch

    from sae_lens_metrics.metrics.config import MetricsConfig
    from sae_lens_metrics.ranks import Ranks
    from sae_lens_metrics.subject.subject import Subject
    from sae_lens_metrics.text.corpus import Corpus

__all__ = ["MetricContext"]

T = TypeVar("T")


@dataclass(frozen=True)
class MetricContext:
    """One metric's view of an evaluation."""

    name: str
    """The metric."""
    subject: "Subject"
    """The model and SAE."""
    corpus: "Corpus"
    """The text; positions are the same for every SAE that is evaluated on it with one seed."""
    config: "MetricsConfig"
    """What is common to all metrics: seed, batch size, memory; and the settings of each."""
    generator: "torch.Generator"
    """Where all of the metric's random numbers come from; follows from the seed and the metric's name alone."""
    ranks: "Ranks"
    """The processes that compute it together. A metric that takes no notice of them is computed as a whole by each, which is no error."""
    shared: dict[Callable[..., Any], Any] = field(default_factory=dict, repr=False)
    """What ``once`` has made; one for all metrics of a run."""

    @property
    def settings(self) -> Any:
        """The metric's own settings; ``None`` if it has none."""
        return self.config.settings.get(self.name)

    def once(self, make: "Callable[[MetricContext], T]") -> T:
        """What a function makes of this run: called by the first metric that asks, and kept for the others until the run ends.

        Args:
            make: The function. It may ask for others in turn, and must not use ``generator`` or ``settings``, which are one metric's.
        """
        if make not in self.shared:
            self.shared[make] = make(self)
        return self.shared[make]
