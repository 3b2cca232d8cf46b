"""Which workers a sweep is given to. Needs neither torch nor Ray."""

from dataclasses import dataclass

from sae_lens_metrics.errors import ConfigError

__all__ = ["RayCluster"]


@dataclass(frozen=True)
class RayCluster:
    """Workers on a Ray cluster: the one at the address in ``RAY_ADDRESS``, or one on this machine that ends with the sweep."""

    workers: int | None = None
    """How many at most; default as many as there is room for."""
    gpus_per_worker: float | None = None
    """GPUs of each; default one if the cluster has any. Without, a worker has one CPU core."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"workers is {self.workers}, expected one or more")
        if self.gpus_per_worker is not None and not 0 <= self.gpus_per_worker < float("inf"):
            raise ConfigError(f"gpus_per_worker is {self.gpus_per_worker}, expected a number from 0 on")
        if self.gpus_per_worker is not None and self.gpus_per_worker > 1 and self.gpus_per_worker % 1:
            raise ConfigError(f"gpus_per_worker is {self.gpus_per_worker}, expected a part of one GPU or whole ones")
