"""A language model whose features are known: what fires them, where they point, and what they do to the next tokens.

Its one activation is a sum of features in superposition. Each fires on patterns of tokens, with a magnitude that depends on the pattern,
along a direction of its own. What follows the hook reads the features back and lets each raise and lower a few logits, of the next token
and of the one after. Text is drawn from the model itself, so its loss on it is the entropy of the language.
"""

from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace

import torch
from planted import PlantedTokenizer, earlier
from sae_lens.synthetic import FeatureDictionary
from torch.nn.functional import embedding_bag
from transformer_lens.hook_points import HookedRootModule, HookPoint

__all__ = ["CONTEXT", "HOOK", "PAD", "VOCABULARY", "PlantedLanguage", "Triggers", "draw_text", "draw_triggers"]

HOOK = "hook_features"
VOCABULARY, CONTEXT = 512, 32
PAD = 0
"""A token that no text has and no pattern asks for."""

D_IN, READ_FROM = 96, 0.6
RAISED, LOWERED, LASTING = 8, 4, 0.5
"""Tokens whose logits a feature raises and lowers, and the share of that effect which reaches the token after the next."""

KINDS = {"token": 24, "class": 52, "class_before": 24, "bigram": 24, "skip_gram": 16, "polysemantic": 20}
"""Features of each kind: a token; any of several; any of several before; two in a row; two with one or two between; three at random.

There are more tokens than features, so that no dictionary of this size can know each by itself, and each has several.
"""
SMALLEST_CLASS, LARGEST_CLASS = 6, 48
COMMON = 10
"""Pairs are of so many common tokens, or they would hardly ever be seen; none is taken twice."""


@dataclass(frozen=True)
class Triggers:
    """What fires features; one fires with the sum of the values of all that applies."""

    here: torch.Tensor
    """What each token fires, [vocabulary, features]."""
    before: torch.Tensor
    """What each token fires at the token after it, [vocabulary, features]."""
    pairs: torch.Tensor
    """Pairs of tokens: the first, the second, and how many places lie between them and one, [pairs, 3]."""
    fired: torch.Tensor
    """What each pair fires, [pairs, features]."""

    @property
    def features(self):
        """How many features there are."""
        return self.here.shape[1]

    @property
    def furthest(self):
        """How many tokens back a feature can depend on."""
        return int(self.pairs[:, 2].max())

    @cached_property
    def rows(self):
        """All that fires features, [2 vocabulary + pairs, features]; the padding's row is zero."""
        return torch.cat([self.here, self.before, self.fired])

    @cached_property
    def row_of_pair(self):
        """By distance, first and second token, the pair's row, or the padding's."""
        first, second, distance = self.pairs.T
        row = torch.full((self.furthest + 1, VOCABULARY, VOCABULARY), PAD)
        row[distance, first, second] = 2 * VOCABULARY + torch.arange(len(self.pairs))
        return row

    def activations(self, tokens):
        """The features of each position, [batch, pos, features]."""
        past = [earlier(tokens, distance).clamp(min=PAD) for distance in range(1, self.furthest + 1)]
        pairs = [self.row_of_pair[distance, before, tokens] for distance, before in enumerate(past, start=1)]
        rows = torch.stack([tokens, VOCABULARY + past[0], *pairs], dim=-1)
        return embedding_bag(rows.flatten(0, 1), self.rows, mode="sum").view(*tokens.shape, -1)


def zipf():
    """How often each token would be said if no feature fired."""
    frequency = 1 / (torch.arange(VOCABULARY, dtype=torch.float) + 5)
    frequency[PAD] = 0
    return frequency / frequency.sum()


def draw_triggers(seed=0):
    """Features of every kind, in their order, each with a size of its own, from which its patterns differ by up to a fifth."""
    generator = torch.Generator().manual_seed(seed)
    of_kind = dict(zip(KINDS, torch.arange(sum(KINDS.values())).split(list(KINDS.values())), strict=True))
    features = sum(KINDS.values())
    size = 1 + torch.rand(features, generator=generator)
    here, before = torch.zeros(2, VOCABULARY, features)
    singles = torch.multinomial(zipf(), KINDS["token"] + KINDS["polysemantic"], generator=generator)
    here[singles, torch.cat([of_kind["token"], of_kind["polysemantic"]])] = 1
    for table, kind in ((here, "class"), (before, "class_before")):
        for feature, members in zip(of_kind[kind], _class_sizes(KINDS[kind]), strict=True):
            table[1 + torch.randperm(VOCABULARY - 1, generator=generator)[:members], feature] = 1
    owners = torch.cat([of_kind["bigram"], of_kind["skip_gram"], *[of_kind["polysemantic"]] * 2])
    pairs = torch.cat([_pairs(len(owners), generator), _distances()[:, None]], dim=1)
    fired = torch.nn.functional.one_hot(owners, features).float()
    varied = [table * size * (0.8 + 0.4 * torch.rand(table.shape, generator=generator)) for table in (here, before, fired)]
    return Triggers(varied[0], varied[1], pairs, varied[2])


def _class_sizes(count):
    return torch.linspace(SMALLEST_CLASS, LARGEST_CLASS, count).round().int().tolist()


def _pairs(count, generator):
    """Different ordered pairs of common tokens."""
    ordered = torch.cartesian_prod(*[torch.arange(COMMON) + 1] * 2)
    return ordered[torch.randperm(len(ordered), generator=generator)[:count]]


def _distances():
    """How far the tokens of each pair are apart: bigrams, skip-grams over one token or two, and two pairs of each polysemantic feature."""
    either, each = KINDS["skip_gram"] // 2, KINDS["polysemantic"]
    return torch.tensor([1] * KINDS["bigram"] + [2, 3] * either + [1] * each + [2] * each)


class PlantedLanguage(HookedRootModule):
    """The model.

    Args:
        seed: Draws the features, their directions and their effects.
        context: Tokens that it takes at most.
    """

    def __init__(self, seed=0, context=CONTEXT):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.triggers = draw_triggers(seed)
        self.tokenizer = PlantedTokenizer()
        self.cfg = SimpleNamespace(d_vocab=VOCABULARY, n_ctx=context, d_model=D_IN)
        dictionary = FeatureDictionary(self.triggers.features, D_IN, bias=1.0, seed=seed)
        self.directions = torch.nn.Parameter(dictionary.feature_vectors.detach(), requires_grad=False)
        self.bias = torch.nn.Parameter(dictionary.bias.detach(), requires_grad=False)
        self.effects = torch.nn.Parameter(draw_effects(self.triggers.features, generator), requires_grad=False)
        self.unconditional = torch.nn.Parameter(zipf().clamp(min=1e-6).log(), requires_grad=False)
        setattr(self, HOOK, HookPoint())
        self.setup()

    def forward(self, tokens, return_type="logits"):
        assert return_type == "logits"
        assert tokens.shape[1] <= self.cfg.n_ctx, "longer than the model's context"
        x = self.triggers.activations(tokens) @ self.directions + self.bias
        read = ((getattr(self, HOOK)(x) - self.bias) @ self.directions.T - READ_FROM).relu()
        before = torch.nn.functional.pad(read, (0, 0, 1, 0))[:, :-1]
        return self.unconditional + (read + LASTING * before) @ self.effects


def draw_effects(features, generator):
    """What one unit of each feature adds to the logits, [features, vocabulary]; nothing for most tokens."""
    order = 1 + torch.rand(features, VOCABULARY - 1, generator=generator).argsort(1)  # not the padding
    size = 1 + 2 * torch.rand(features, RAISED + LOWERED, generator=generator)
    size[:, RAISED:] *= -1
    return torch.zeros(features, VOCABULARY).scatter_(1, order[:, : RAISED + LOWERED], size)


@torch.no_grad()
def draw_text(model, sequences, *, seed, context=CONTEXT):
    """Text of the model's own, [sequences, context]; every sequence is a document."""
    generator = torch.Generator().manual_seed(seed)
    reach = model.triggers.furthest + 2  # what the features of the last two tokens depend on
    tokens = torch.multinomial(zipf(), sequences, replacement=True, generator=generator)[:, None]
    while tokens.shape[1] < context:
        chances = model(tokens[:, -reach:])[:, -1].softmax(-1)
        tokens = torch.cat([tokens, torch.multinomial(chances, 1, generator=generator)], dim=1)
    return tokens
