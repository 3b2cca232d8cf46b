"""Weights of a model, wherever accelerate has put them."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

__all__ = ["input_device", "weights"]


def weights(model: torch.nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Names and values of all parameters and buffers, sorted by name; those that are offloaded are fetched one at a time."""
    for name, value in sorted(model.state_dict().items()):
        yield name, _fetched(model, name) if value.is_meta else value


def input_device(model: torch.nn.Module) -> torch.device:
    """Where a model takes its tokens; of one whose first weights are offloaded the CPU, from where accelerate moves them on."""
    device = next(model.parameters()).device
    return torch.device("cpu") if device.type == "meta" else device


def _fetched(model: torch.nn.Module, name: str) -> Tensor:
    path, _, own_name = name.rpartition(".")
    hook: Any = getattr(model.get_submodule(path), "_hf_hook", None)  # accelerate leaves it on each module that it moves
    for each in getattr(hook, "hooks", (hook,)):
        if getattr(each, "weights_map", None) is not None:
            return each.weights_map[own_name]
    raise ValueError(f"the weight {name!r} has no value")
