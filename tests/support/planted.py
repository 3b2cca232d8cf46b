"""A subject whose latents are known rules about tokens: the model computes them exactly, and the SAE hands them on."""

from types import SimpleNamespace

import torch
from sae_lens.saes.sae import SAEMetadata
from sae_lens.saes.standard_sae import StandardSAE, StandardSAEConfig
from transformer_lens.hook_points import HookedRootModule, HookPoint

from sae_lens_metrics import Subject

HOOK = "hook_features"
NOTHING = -1  # where a rule looks back beyond the beginning of the sequence


# --- rules: tokens [batch, pos] -> activations [batch, pos], not negative ----------------------------------------------------


def earlier(tokens, distance):
    """The token so many places before each position."""
    return torch.nn.functional.pad(tokens, (distance, 0), value=NOTHING)[:, : tokens.shape[1]]


def fires_after(*pattern, value=1.0):
    """On the last token of an n-gram; ``None`` stands for any token, but not for none."""

    def rule(tokens):
        found = torch.ones_like(tokens, dtype=torch.bool)
        for distance, wanted in enumerate(reversed(pattern)):
            there = earlier(tokens, distance)
            found &= there != NOTHING if wanted is None else there == wanted
        return found * value

    return rule


def fires_on_first(token, *, bos=None, value=1.0):
    """On a token that is the first of its document: of the sequence, or directly after BOS where there is one."""
    return lambda tokens: ((tokens == token) & (earlier(tokens, 1) == (NOTHING if bos is None else bos))) * value


def fires_after_any(patterns, values=None):
    """On the last token of any of several n-grams, each with its own value; the largest counts."""
    rules = [fires_after(*pattern, value=value) for pattern, value in zip(patterns, values or [1.0] * len(patterns), strict=True)]
    return lambda tokens: torch.stack([rule(tokens) for rule in rules]).amax(0)


def fires_on_either(token, before, two_before, *, earliest=2, value=1.0):
    """On a token if ``before`` precedes it or ``two_before`` precedes that; from position ``earliest`` of the sequence on.

    Without the last condition the shorter reason would always do, and no example would keep both.
    """

    def rule(tokens):
        reason = (earlier(tokens, 1) == before) | (earlier(tokens, 2) == two_before)
        late = torch.arange(tokens.shape[1], device=tokens.device) >= earliest
        return ((tokens == token) & reason & late) * value

    return rule


def example_rules(bos=None):
    """One rule of each kind; tokens below 10 only."""
    return [
        fires_after(1),
        fires_after(2, 3, value=2.0),
        fires_after(4, None, 5),
        fires_on_first(6, bos=bos),
        fires_after_any([(a, 7) for a in range(1, 6)], [0.5, 1.0, 1.5, 2.0, 2.5]),
        fires_on_either(8, 1, 2, earliest=2 if bos is None else 3),
    ]


# --- model, tokenizer, SAE ---------------------------------------------------------------------------------------------------


class PlantedModel(HookedRootModule):
    """Its one activation holds a feature per rule; logits are linear in it."""

    def __init__(self, rules, d_vocab, n_ctx, tokenizer=None):
        super().__init__()
        self.rules = rules
        self.tokenizer = tokenizer
        self.cfg = SimpleNamespace(d_vocab=d_vocab, n_ctx=n_ctx)
        self.W_U = torch.nn.Parameter(torch.randn(len(rules), d_vocab, generator=torch.Generator().manual_seed(0)))
        setattr(self, HOOK, HookPoint())
        self.setup()

    def forward(self, tokens, return_type="logits"):
        assert return_type == "logits"
        assert tokens.shape[1] <= self.cfg.n_ctx, "longer than the model's context"
        features = torch.stack([rule(tokens) for rule in self.rules], dim=-1).to(self.W_U)
        return getattr(self, HOOK)(features) @ self.W_U

    def to_tokens(self, text, prepend_bos=False, **_):
        """The inverse of the tokenizer's decode, as SAELens calls it: without BOS."""
        assert not prepend_bos
        return torch.tensor([[int(name.removeprefix("t")) for name in text.split()]])


class PlantedTokenizer:
    """Special tokens, and a name for each token; texts are names with spaces between."""

    def __init__(self, bos_token_id=None, pad_token_id=None):
        self.bos_token_id, self.pad_token_id = bos_token_id, pad_token_id
        self.eos_token_id = bos_token_id

    def decode(self, tokens):
        return "".join(f" t{int(token)}" for token in torch.as_tensor(tokens).flatten())

    def batch_decode(self, sequences, **_):
        return [self.decode(tokens) for tokens in sequences]

    def __call__(self, texts, add_special_tokens=False):
        assert not add_special_tokens
        return {"input_ids": [[int(name.removeprefix("t")) for name in text.split()] for text in texts]}


def identity_sae(d, *, context_size, prepend_bos):
    metadata = SAEMetadata(hook_name=HOOK, context_size=context_size, prepend_bos=prepend_bos, model_name="planted")
    sae = StandardSAE(StandardSAEConfig(d_in=d, d_sae=d, metadata=metadata))
    with torch.no_grad():
        for name, parameter in sae.named_parameters():
            parameter.copy_(torch.eye(d) if name in ("W_enc", "W_dec") else torch.zeros_like(parameter))
    return sae


def planted_subject(rules, *, d_vocab=50, context_size=16, bos=None, pad=None, device="cpu"):
    """A subject with one latent per rule, in their order; with a BOS token sequences begin with it."""
    tokenizer = None if bos is None and pad is None else PlantedTokenizer(bos, pad)
    model = PlantedModel(list(rules), d_vocab, context_size, tokenizer)
    sae = identity_sae(len(model.rules), context_size=context_size, prepend_bos=bos is not None)
    return Subject(model.to(device), sae.to(device))


def planted_tokens(subject, sequences, *, first=1, vocabulary=10, seed=0):
    """Random sequences of the subject's context size, of tokens from ``first`` to below ``vocabulary``; BOS first where there is one."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(first, vocabulary, (sequences, subject.language.context_size), generator=generator)
    if subject.language.prepend_bos:
        tokens[:, 0] = subject.language.tokenizer.bos_token_id
    return tokens
