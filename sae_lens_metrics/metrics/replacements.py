"""Next-token losses with other activations in the model's own place."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.batches import ActivationBatch

__all__ = ["replacement_losses"]


def replacement_losses(
    subject: Subject,
    batch: ActivationBatch,
    replacements: Mapping[str, Float[Tensor, "n d_out"]],
    *,
    zeroed: str | None = None,
    diverging: str | None = None,
) -> dict[str, Float[Tensor, "batch"]]:
    """Sums of next-token losses per sequence, in nats, over positions that hold no special token; and the number of ``predictions``.

    Args:
        subject: The model and SAE.
        batch: Sequences, run up to the hook.
        replacements: What to put in the place of the activations at the positions that count, by name; the loss of the model as it is
            has the name ``clean``.
        diverging: If given, one of the replacements, for which ``divergence`` is the sum of KL(clean || replaced) over the positions that
            count, the last one included.
        zeroed: If given, the name of the loss with zeros in place everywhere, special tokens included, as in SAELens's evaluation.
    """
    valid = subject.site.valid(batch.prefix.tokens)
    counted = valid[:, :-1]
    runs: dict[str, Tensor] = {}
    more: dict[str, Tensor] = {}
    if diverging is None:
        runs["clean"] = subject.site.losses(batch.prefix)
    else:
        replaced = batch.to_positions(replacements[diverging])
        runs["clean"], runs[diverging], divergence = subject.site.losses_beside_clean(batch.prefix, replaced)
        more["divergence"] = (divergence * valid).sum(1)
    for name, x in replacements.items():
        if name not in runs:
            runs[name] = subject.site.losses(batch.prefix, batch.to_positions(x))
    if zeroed is not None:
        zeros = torch.zeros(*valid.shape, subject.d_out, device=subject.device)
        runs[zeroed] = subject.site.losses(batch.prefix, zeros, where=torch.ones_like(valid))
    return {"predictions": counted.sum(1), **{name: (loss * counted).sum(1) for name, loss in runs.items()}, **more}
