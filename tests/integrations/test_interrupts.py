"""An interrupt while SAELens trains, wherever its exception comes up."""

import os
import signal

import pytest
from sae_lens.training._interruption import InterruptedException

from sae_lens_metrics.integrations.interrupts import handlers_put_back, telling_the_signal


@pytest.fixture
def as_in_saelens():
    """SAELens's handler: it raises."""

    def interrupt(signum, frame):
        raise InterruptedException()

    with handlers_put_back():
        signal.signal(signal.SIGTERM, interrupt)
        yield


def interrupted_in_a_package_that_makes_another_error():
    """As transformers' tokenizers do."""
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the signal did not arrive")
    except Exception as error:
        raise ValueError("Unable to create tensor") from error


@pytest.mark.parametrize("fit", [lambda: os.kill(os.getpid(), signal.SIGTERM), interrupted_in_a_package_that_makes_another_error])
def test_ends_as_an_interrupt_that_tells_its_signal(fit, as_in_saelens):
    saved = []
    with pytest.raises(InterruptedException) as caught:
        telling_the_signal(fit, lambda: saved.append(True))()
    assert caught.value.signum == signal.SIGTERM
    assert saved == [True]


def test_an_error_without_a_signal_is_an_error(as_in_saelens):
    def fit():
        raise ValueError("as ever")

    with pytest.raises(ValueError, match="as ever"):
        telling_the_signal(fit, lambda: pytest.fail("nobody interrupted it"))()
