"""Into which of a fixed number of groups each text of a task goes, the same one in every task and for every SAE."""

import hashlib

import torch
from jaxtyping import Int
from torch import Tensor

from sae_lens_metrics.metrics.probe.tasks import ProbeTask

__all__ = ["TEXT_GROUPS", "text_groups"]

TEXT_GROUPS = 64
"""How many groups there are: enough for an error to be known to a tenth, few enough to stand in a result file."""


def text_groups(task: ProbeTask) -> Int[Tensor, "n"]:
    """The number of each text's group, from 0.

    Texts that are held out together stay together, and texts that several tasks share are in one group in all of them: it follows from a
    hash of the text, or of a group's texts from the smallest of their hashes, which two groups have in common about as often as they
    have texts in common (Broder 1997, On the resemblance and containment of documents).

    Args:
        task: The task.
    """
    hashes = [int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") for text in task.texts]
    if task.groups is not None:
        smallest: dict[int, int] = {}
        for group, number in zip(task.groups, hashes, strict=True):
            smallest[group] = min(smallest.setdefault(group, number), number)
        hashes = [smallest[group] for group in task.groups]
    return torch.tensor([number % TEXT_GROUPS for number in hashes])
