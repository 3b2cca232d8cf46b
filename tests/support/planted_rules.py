"""Text without any order, and latents that fire on it by rules that are known."""

import torch

from sae_lens_metrics.functional.rule_learning import Firings
from sae_lens_metrics.functional.rule_text import RuleText

VOCABULARY, LENGTH, WITHIN = 40, 48, 16
BOS = 0


def text(sequences, seed):
    """Random tokens of which each sequence begins with BOS, and the text as rules read it."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, VOCABULARY, (sequences, LENGTH), generator=generator)
    tokens[:, 0] = BOS
    special = tokens == BOS
    return tokens, RuleText.from_sequences(tokens, special, ~special, WITHIN)


def windows(tokens):
    """Each token that counts, with the tokens of its document in front of it, in the order of the text."""
    return [(int(token), row[1:column].tolist()) for row in tokens for column, token in enumerate(row) if column > 0]


PLANTED = {
    "one token": lambda token, before: token == 3,
    "a set of tokens": lambda token, before: token in (5, 6, 7),
    "a b": lambda token, before: token == 9 and before[-1:] == [8],
    "a within 16 of b": lambda token, before: token == 11 and 12 in before[-16:],
    "a unless b": lambda token, before: token == 13 and before[-1:] != [14],
    "not within 16 of b": lambda token, before: token == 15 and 16 not in before[-16:],
    "the first four": lambda token, before: len(before) < 4,
    "a at the start": lambda token, before: token == 17 and len(before) < 8,
    "any after b": lambda token, before: before[-1:] == [18],
    "either or": lambda token, before: token == 19 or (token == 21 and before[-1:] == [20]),
}
"""Where latents fire, by what they are called."""


def firings(tokens, fires):
    """Where latents fire, with activations that say on which token."""
    places = windows(tokens)
    found = [
        (i, place, 1 + token / 8) for i, says in enumerate(fires) for place, (token, before) in enumerate(places) if says(token, before)
    ]
    latent, place, value = zip(*found, strict=True)
    return Firings(torch.tensor(latent), torch.tensor(place), torch.tensor(value))
