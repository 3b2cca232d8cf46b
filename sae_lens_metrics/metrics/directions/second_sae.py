"""A second SAE at the same hook, and which of its latents is most like each of the first one's."""

import torch
from jaxtyping import Float
from torch import Tensor

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.functional.nearest_directions import Nearest
from sae_lens_metrics.loading.pretrained import load_subject
from sae_lens_metrics.loading.targets import find_target
from sae_lens_metrics.subject.dictionary import Dictionary
from sae_lens_metrics.subject.subject import Subject

__all__ = ["Match", "load_second"]


def load_second(subject: Subject, name: str) -> Dictionary:
    """Loads the second SAE.

    Args:
        subject: The model and the first SAE.
        name: A folder, or RELEASE/SAE_ID.

    Raises:
        SubjectError: If there is no such SAE, or it does not fit the model.
        ConfigError: If it sits at another hook.
    """
    target = find_target(name)
    second = load_subject(target.release, target.sae_id, model=subject.site.model, device=str(subject.device))
    places = [(each.site.place.input.path, each.site.place.output.path, each.d_in, each.d_out) for each in (subject, second)]
    if places[0] != places[1]:
        raise ConfigError(
            f"directions.against is {name!r}, which sits at {second.hook_name}, expected an SAE at {subject.hook_name}: "
            "directions of other places cannot be compared"
        )
    return second.dictionary


class Match:
    """The latent of a second SAE that is most like each one by the decoder.

    Args:
        second: The second SAE.
        nearest: For each latent of the first one, which latent of the second one is nearest.

    Attributes:
        decoder: The rows of the second one.
        nearest: The best matches, and their cosines.
    """

    def __init__(self, second: Dictionary, nearest: Nearest) -> None:
        self._second, self.decoder, self.nearest = second, second.decoder, nearest
        self._index = self.nearest.which[:, 0]

    def latents(self, x: Float[Tensor, "n d_in"]) -> Float[Tensor, "n d_sae"]:
        """What the match of each latent is on some tokens.

        Args:
            x: The activations.
        """
        return torch.cat([self._second.encode(part)[:, self._index] for part in x.split(self._second.chunk)])
