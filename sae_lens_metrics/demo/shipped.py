"""What comes with the package: a tiny language model, and two SAEs of it."""

from contextlib import AbstractContextManager
from importlib.resources import as_file, files
from pathlib import Path

from sae_lens_metrics.integrations.transformer_lens import HookedTransformer
from sae_lens_metrics.loading.models import load_local_model
from sae_lens_metrics.loading.pretrained import load_pretrained
from sae_lens_metrics.subject.subject import Subject

__all__ = ["SHIPPED_SAES", "TINY_LM", "load_shipped_subject", "load_tiny_lm", "tiny_lm_folder"]

TINY_LM = "tiny_lm"
"""What the language model is called in the metadata of its SAEs."""

SHIPPED_SAES = ("L1", "TopK")
"""Names of the SAEs: one with an L1 penalty and one TopK, at similar L0."""


def tiny_lm_folder() -> AbstractContextManager[Path]:
    """The language model's folder, for as long as it is needed."""
    return as_file(files("sae_lens_metrics.demo") / TINY_LM)


def load_tiny_lm() -> HookedTransformer:
    """Loads the language model as a HookedTransformer, on the CPU."""
    with tiny_lm_folder() as folder:
        return load_local_model(folder)


def load_shipped_subject(name: str, model: HookedTransformer) -> Subject:
    """Loads one of the SAEs, in float32, with the language model.

    Args:
        name: One of ``SHIPPED_SAES``.
        model: The language model.
    """
    with as_file(files("sae_lens_metrics.demo") / "saes" / name) as folder:
        return load_pretrained(str(folder), model=model, device="cpu")
