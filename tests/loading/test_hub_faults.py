"""Errors of the hub's client: which are worth another try, and what they are in a sentence."""

import pytest
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import get_session

from sae_lens_metrics.loading.downloads import is_passing
from sae_lens_metrics.loading.hub_faults import in_words


def answered(status):
    """An error as the client raises it: the hub's own, from that of HTTP."""
    client = __import__(type(get_session()).__module__.split(".")[0])
    request = client.Request("GET", "http://hub.example/x")
    response = client.Response(status, request=request)
    try:
        try:
            response.raise_for_status()
        except client.HTTPStatusError as error:
            raise HfHubHTTPError("no", response=response) from error
    except HfHubHTTPError as error:
        return error


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409])
def test_an_answer_is_no_lost_connection(status, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert not is_passing(answered(status))


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_moment_of_the_servers_passes(status, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert is_passing(answered(status))


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "hf auth login"),
        (403, "right to write"),
        (404, "no such repository"),
        (412, "look at the list once more"),
        (429, "wait"),
        (500, "network"),
    ],
)
def test_sentences(status, said, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    text = in_words(answered(status), "sending failed")
    assert text.startswith("sending failed: ")
    assert said in text
    assert "\n" not in text


def test_any_other_error():
    assert in_words(ValueError("odd\nthing"), "it failed") == "it failed: ValueError: odd thing"
