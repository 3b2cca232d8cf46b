"""A second SAE at the same hook: which of its latents is most like each of the first one's, and whether both fire alike."""

from jaxtyping import Float
from torch import Tensor

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.functional.nearest_directions import Nearest, nearest_directions
from sae_lens_metrics.functional.pair_correlation import PairCorrelation
from sae_lens_metrics.loading.pretrained import load_subject
from sae_lens_metrics.loading.targets import find_target
from sae_lens_metrics.metrics.directions.memory import AT_ONCE
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
    """Each latent's best match by the decoder, and, from activations, how alike both fire.

    Args:
        own: The first SAE.
        second: The second one.

    Attributes:
        decoder: The rows of the second one.
        nearest: Of each latent of the first one, the best match among them.
    """

    def __init__(self, own: Dictionary, second: Dictionary) -> None:
        self._second, self.decoder = second, second.decoder
        self.nearest: Nearest = nearest_directions(own.decoder, second.decoder, at_once=AT_ONCE)
        self._index = self.nearest.index[:, 0]
        self._sums = PairCorrelation(own.d_sae, own.decoder.device)

    def add(self, z: Float[Tensor, "n d_sae"], x: Float[Tensor, "n d_in"]) -> None:
        """Takes down how both fire on some tokens.

        Args:
            z: The first SAE's latents.
            x: The activations.
        """
        parts = zip(z.split(self._second.chunk), x.split(self._second.chunk), strict=True)
        for own, given in parts:
            self._sums.add(own, self._second.encode(given)[:, self._index])

    def correlation(self) -> Float[Tensor, "d_sae"]:
        """Pearson's correlation of each latent with its match over all tokens so far; NaN where one of them never fires."""
        return self._sums.value()
