"""A device that is there."""

import torch

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.loading.models import default_device

__all__ = ["usable_device"]


def usable_device(name: str | None) -> str:
    """The device of a name, or a GPU if there is one.

    Args:
        name: Such as ``"cuda:0"``; ``None`` for the default.

    Raises:
        ConfigError: If there is none of that name here.
    """
    name = default_device(name)
    try:
        torch.ones(1, device=name).cpu()
    except Exception as error:  # each kind of device has its own
        raise ConfigError(f"there is no device {name!r} here: give --device cpu, or cuda where there is a GPU") from error
    return name
