"""What several processes have kept of each latent, in one."""

from sae_lens_metrics.functional.sampling import GroupedLargest, GroupedSample
from sae_lens_metrics.ranks import Ranks

__all__ = ["gather_kept"]

_PLACES = 2**22
"""Items that each process sends at a time: some 80 MB."""


def gather_kept(own: GroupedSample | GroupedLargest, ranks: Ranks) -> None:
    """Makes a process's sample one of the items of all processes.

    Args:
        own: What this process has kept of its items; the others have had other items.
        ranks: The processes.
    """
    if ranks.size == 1:
        return
    groups, size = own.item.shape
    step = max(1, _PLACES // size)
    for start in range(0, groups, step):
        some = slice(start, min(start + step, groups))
        for rank, kept in enumerate(ranks.each(lambda some=some: own.kept(some))):
            if rank != ranks.rank:
                own.take(some, kept)
