"""The tiny language model that comes with the package."""

from importlib.resources import as_file, files

from transformer_lens import HookedTransformer

from sae_lens_metrics.loading.pretrained import load_local_model

__all__ = ["load_tiny_lm"]


def load_tiny_lm() -> HookedTransformer:
    """Loads it as a HookedTransformer, on the CPU."""
    with as_file(files("sae_lens_metrics.demo") / "tiny_lm") as folder:
        return load_local_model(folder)
