"""What a metric says about itself."""

import pytest

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.metrics.spec import MetricSpec, Number

NUMBERS = {"a": Number("a"), "b": Number("b")}


def test_what_leads_in_training_is_the_headline_unless_said():
    assert MetricSpec("mine", "Mine", numbers=NUMBERS).leading == "a"
    assert MetricSpec("mine", "Mine", numbers=NUMBERS, headline="b").leading == "b"
    led = MetricSpec("mine", "Mine", numbers=NUMBERS, leading="b")
    assert (led.headline, led.leading) == ("a", "b")
    assert MetricSpec("mine", "Mine").leading == ""


def test_a_leading_number_that_is_not_there():
    with pytest.raises(ConfigError, match="led by 'c' in training, which is none of its numbers"):
        MetricSpec("mine", "Mine", numbers=NUMBERS, leading="c")
