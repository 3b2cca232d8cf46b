"""A subject whose latents count in other units."""

import copy

import torch

from sae_lens_metrics.subject.dictionary import Dictionary

__all__ = ["in_other_units"]


class InOtherUnits(Dictionary):
    """The same dictionary, each of whose latents counts in a unit of its own: encoder rows times ``units``, decoder rows over them."""

    def __init__(self, own, units):
        vars(self).update(vars(own))
        self._own, self._units = own, units
        self.decoder = own.decoder / units[:, None]

    def encode(self, x):
        return self._own.encode(x) * self._units

    def pre_activations_given(self, encoder_input, latents):
        return self._own.pre_activations_given(encoder_input, latents) * self._units[latents]

    def pre_activations(self, x, latents=None, *, at_once=None):
        return self._own.pre_activations(x, latents, at_once=at_once) * self._units[slice(None) if latents is None else latents]

    def decode(self, feature_acts, x):
        return self._own.decode(feature_acts / self._units, x)


def in_other_units(subject):
    other = copy.copy(subject)
    units = torch.randn(subject.d_sae, generator=torch.Generator().manual_seed(0)).exp()
    other.dictionary = InOtherUnits(subject.dictionary, units.to(subject.device))
    return other
