"""What every refusal keeps: a sentence of our own, short enough to read."""

import re

from sae_lens_metrics.errors import MetricsError

LONGEST = 900
"""Characters, of which paths take the most."""


def in_few_words(error):
    """Checks that an error is one of ours, on one line, without another package's error in it."""
    said = str(error)
    assert isinstance(error, MetricsError), repr(error)
    assert "\n" not in said, said
    assert len(said) < LONGEST, said
    assert not re.search(r"\b\w*(Error|Exception)\b[:(]", said), said
