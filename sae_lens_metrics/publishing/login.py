"""Who publishes: huggingface_hub's own login."""

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import LocalTokenNotFoundError

from sae_lens_metrics.errors import PublishError
from sae_lens_metrics.loading.downloads import with_retries
from sae_lens_metrics.loading.hub_faults import in_words

__all__ = ["login"]


def login(api: HfApi) -> tuple[str, str]:
    """The name of the user who is logged in, and the token, which must be known for it to be nowhere in what is sent.

    Args:
        api: The hub.

    Raises:
        PublishError: If nobody is logged in, the token is none, or the hub cannot be reached.
    """
    try:
        token = get_token()
        if token is None:
            raise LocalTokenNotFoundError
        return str(with_retries(api.whoami, "the hub").get("name")), token
    except Exception as error:
        raise PublishError(in_words(error, "nothing can be published")) from error
