"""What comes with the package: a tiny language model, and two SAEs of it."""

from importlib.resources import as_file, files

from sae_lens_metrics.integrations.transformer_lens import HookedTransformer
from sae_lens_metrics.loading.models import load_local_model
from sae_lens_metrics.loading.pretrained import load_pretrained
from sae_lens_metrics.subject.subject import Subject

__all__ = ["SHIPPED_SAES", "load_shipped_subject", "load_tiny_lm"]

SHIPPED_SAES = ("L1", "TopK")
"""Names of the SAEs: one with an L1 penalty and one TopK, at similar L0."""


def load_tiny_lm() -> HookedTransformer:
    """Loads the language model as a HookedTransformer, on the CPU."""
    with as_file(files("sae_lens_metrics.demo") / "tiny_lm") as folder:
        return load_local_model(folder)


def load_shipped_subject(name: str, model: HookedTransformer) -> Subject:
    """Loads one of the SAEs, in float32, with the language model.

    Args:
        name: One of ``SHIPPED_SAES``.
        model: The language model.
    """
    with as_file(files("sae_lens_metrics.demo") / "saes" / name) as folder:
        return load_pretrained(str(folder), model=model, device="cpu")
