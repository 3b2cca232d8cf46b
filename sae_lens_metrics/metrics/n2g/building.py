"""Building N2G explanations of a subject's latents: from a text, over a sample of activations, to n-grams."""

import math
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sae_lens_metrics.errors import ExplanationError
from sae_lens_metrics.functional.ngram_building import Examples, build_patterns
from sae_lens_metrics.functional.ngrams import ABSENT, Patterns
from sae_lens_metrics.functional.nonzeros import nonzeros
from sae_lens_metrics.functional.sampling import GroupedSample
from sae_lens_metrics.integrations.progress import progress
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.metrics.n2g.explanations import Explanations, kept
from sae_lens_metrics.metrics.n2g.gathering import gather_kept
from sae_lens_metrics.metrics.n2g.short_runs import ShortRuns
from sae_lens_metrics.metrics.n2g.spec import N2GConfig
from sae_lens_metrics.ranks import ALONE, Ranks
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.corpus import Corpus

__all__ = ["explain", "in_context", "rebuilt", "texts"]

_METHOD = 1
"""Counts changes to how explanations are built, so that older ones are not taken for those of today."""
_EXAMPLES_AT_ONCE = 2**17
_REBUILT = 64
"""Latents at most that are explained once more: enough for the error of their mean to be known to some 10 %."""
_LIKE_THE_PAPER = " _"


def texts(subject: Subject, corpus: Corpus, config: MetricsConfig) -> tuple[Corpus, Corpus]:
    """The texts that explanations are built from, and scored on: the first and the last documents of a corpus.

    Both are cut into sequences of ``config.n2g.context`` tokens, unless the SAE is for some positions of a sequence only.

    Raises:
        CorpusError: If the corpus is too short.
        ExplanationError: If the context is longer than the model's.
    """
    context = config.n2g.context
    longest = subject.language.longest_context
    if longest is not None and context > max(longest, N2GConfig().context):  # the default is no mistake of the user's
        raise ExplanationError(f"n2g.context is {context}, longer than the model's {longest}: give a smaller one (--n2g.context)")
    first, second = corpus.halves()
    return in_context(subject, first, config), in_context(subject, second, config)


def in_context(subject: Subject, text: Corpus, config: MetricsConfig) -> Corpus:
    """A text in sequences of ``config.n2g.context`` tokens, unless the SAE is for some positions of a sequence only."""
    return text.cut(config.n2g.context, subject.language.bos_token) if subject.site.place.counts_everywhere else text


def explain(subject: Subject, text: Corpus, config: MetricsConfig, ranks: Ranks = ALONE) -> Explanations:
    """Explains a subject's latents by their activations on a text.

    Explanations that have been built already are taken from ``config.n2g.folder``, if all that they depend on is the same.

    Args:
        subject: The model and SAE.
        text: Where the latents' activations are sampled; the first of ``texts``.
        config: ``seed``, ``batch_size`` and ``n2g`` are used.
        ranks: The processes that do it together.

    Raises:
        ExplanationError: If the padding token is none of the model's.
    """
    depends_on = _dependencies(subject, text, config)
    return kept(config.n2g.folder, depends_on, lambda: _build(subject, text, config, depends_on, ranks), ranks)


def _dependencies(subject: Subject, text: Corpus, config: MetricsConfig) -> dict[str, Any]:
    settings = config.n2g
    return {
        "method": _METHOD,
        "sae": subject.dictionary.weights_hash(),
        "model": subject.site.model_hash(),
        **subject.settings(),
        "text": text.describe()["tokens_sha256"],
        "seed": config.seed,
        "latents": settings.latents if settings.latents is not None and settings.latents < subject.d_sae else None,
        "variant": settings.variant,
        "examples": settings.examples,
        "longest": _longest_example(subject, text, settings),
        "pad_token": _pad_token(subject, settings),
    }


def _longest_example(subject: Subject, text: Corpus, settings: N2GConfig) -> int:
    """Tokens of an example: what a sequence or the settings allow, and what fits the model behind BOS and a padding token."""
    bos = int(subject.language.bos_token is not None)
    room = math.inf if subject.language.longest_context is None else subject.language.longest_context - 1 - bos
    return int(min(text.tokens.shape[1] - bos, settings.max_length or math.inf, room))


def _pad_token(subject: Subject, settings: N2GConfig) -> int:
    if settings.pad_token is not None:
        if subject.language.vocabulary is not None and settings.pad_token >= subject.language.vocabulary:
            raise ExplanationError(
                f"n2g.pad_token is {settings.pad_token}, the model has {subject.language.vocabulary} tokens: give a smaller id"
            )
        return settings.pad_token
    if subject.language.tokenizer is None:
        raise ExplanationError("the model has no tokenizer to find a padding token with: give the id of one (n2g.pad_token)")
    encoded = subject.language.tokenizer.encode(_LIKE_THE_PAPER, add_special_tokens=False)
    if not encoded:
        raise ExplanationError(f"the tokenizer has no token for {_LIKE_THE_PAPER!r}: give the id of a padding token (--n2g.pad_token)")
    return int(encoded[-1])


def _build(subject: Subject, text: Corpus, config: MetricsConfig, depends_on: dict[str, Any], ranks: Ranks) -> Explanations:
    latents = _chosen(subject, config)
    size = config.n2g.examples
    sample, counted = ranks.together(lambda: _sampled(subject, text, config, latents, size=2 * size, ranks=ranks))
    gather_kept(sample, ranks)
    items, values, count = sample.item[latents], sample.value[latents], sample.count[latents]
    # a sample's beginning is a sample too: its first half builds, the rest is held out; of an odd number one more builds
    place, half = torch.arange(2 * size, device=items.device), (count.clamp_max(2 * size)[:, None] + 1) // 2
    usable = (items >= 0) & (count >= 2)[:, None]
    builds, is_held_out = usable & (place < half), usable & (place >= half)
    patterns = _patterns(subject, text, (latents, items, values), builds, depends_on, ranks)
    tokens = sum(ranks.each(lambda: counted))
    first = is_held_out.int().argsort(dim=1, descending=True, stable=True)[:, :size]  # those held out to the front
    held_out = items.masked_fill(~is_held_out, -1).gather(1, first), values.masked_fill(~is_held_out, 0).gather(1, first)
    return Explanations(patterns, latents.cpu(), count.cpu(), held_out[0].cpu(), held_out[1].cpu(), tokens, depends_on)


def rebuilt(explanations: Explanations, subject: Subject, text: Corpus, config: MetricsConfig, ranks: Ranks = ALONE) -> Explanations | None:
    """Explains some latents once more, by the activations that were held out: what could as well have come of another sample.

    The larger the share of the SAE's latents that were asked about, the more of them, up to 64, as the less can be told from how much
    latents differ.

    Args:
        explanations: The explanations.
        subject: The model and SAE that they explain.
        text: The text that they were built from.
        config: ``seed``, which chooses the latents, and ``n2g.folder``, as for ``explain``, are used.
        ranks: The processes that do it together.

    Returns:
        Explanations of some latents, chosen at random among those that have activations that are held out; ``None`` for fewer than two.
    """
    asked = len(explanations.latents)
    possible = (explanations.held_out >= 0).any(1).nonzero()[:, 0]
    order = torch.randperm(len(possible), generator=torch.Generator().manual_seed(config.seed))
    at = possible[order[: round(min(_REBUILT, asked) * asked / subject.d_sae)]].sort().values
    if len(at) < 2:
        return None
    depends_on = {**explanations.depends_on, "built_from": "the activations that were held out"}
    return kept(config.n2g.folder, depends_on, lambda: _built_again(explanations, at, subject, text, depends_on, ranks), ranks)


def _built_again(
    explanations: Explanations, at: Int[Tensor, "some"], subject: Subject, text: Corpus, depends_on: dict[str, Any], ranks: Ranks
) -> Explanations:
    columns = (explanations.latents, explanations.held_out, explanations.held_out_activation)
    latents, items, values = (column[at].to(subject.device) for column in columns)
    patterns = _patterns(subject, text, (latents, items, values), items >= 0, depends_on, ranks)
    nothing = torch.full_like(items, -1).cpu(), torch.zeros_like(values).cpu()
    return Explanations(patterns, latents.cpu(), explanations.activations[at], *nothing, explanations.tokens, depends_on)


def _patterns(
    subject: Subject,
    text: Corpus,
    sample: tuple[Tensor, Tensor, Tensor],
    builds: Bool[Tensor, "latents examples"],
    depends_on: dict[str, Any],
    ranks: Ranks,
) -> Patterns:
    """The n-grams that some of the sampled activations give: of latents, positions and values."""
    latents, items, values = sample
    examples = Examples(
        latents.repeat_interleave(builds.sum(1)),
        _contexts(text.tokens.to(items.device), subject, items[builds], depends_on["longest"]),
        values[builds],
    )
    bar = progress("n2g: explaining", unit="step", total=2 * len(examples.latent), scaled=True)
    with bar, ShortRuns(subject, ranks) as runs:
        built = build_patterns(runs, examples, pad_token=depends_on["pad_token"], variant=depends_on["variant"], progress=bar.update)
    return built.to("cpu")


def _chosen(subject: Subject, config: MetricsConfig) -> Int[Tensor, "latents"]:
    """All latents, or a random sample of them, firing or not."""
    generator = torch.Generator().manual_seed(config.seed)
    shuffled = torch.randperm(subject.d_sae, generator=generator)
    return shuffled[: config.n2g.latents].sort().values.to(subject.device)


def _sampled(
    subject: Subject, text: Corpus, config: MetricsConfig, latents: Int[Tensor, "latents"], *, size: int, ranks: Ranks
) -> tuple[GroupedSample, int]:
    """A random sample of each latent's activations in this process's sequences, by their positions; and how many positions count."""
    sample, tokens = GroupedSample(subject.d_sae, size, seed=config.seed, device=subject.device), 0
    wanted = torch.zeros(subject.d_sae, dtype=torch.bool, device=subject.device)
    wanted[latents] = True
    for batch in text.activations(subject, config.batch_size, progress="n2g: sampling activations", ranks=ranks):
        tokens += len(batch.x)
        for rows, z in batch.latents():
            position = batch.in_corpus[rows]
            for row, latent in nonzeros((z != 0) & wanted):
                sample.add(latent, position[row], z[row, latent])
    return sample, tokens


def _contexts(
    tokens: Int[Tensor, "sequences pos"], subject: Subject, position: Int[Tensor, "examples"], length: int
) -> Int[Tensor, "examples length"]:
    """The tokens up to and with some positions, the last one first, cut at the beginning of their document."""
    parts = [_context_part(tokens, subject.language.special(tokens), part, length) for part in position.split(_EXAMPLES_AT_ONCE)]
    return torch.cat(parts) if parts else tokens.new_empty(0, length, dtype=torch.int32)


def _context_part(tokens: Tensor, special: Bool[Tensor, "sequences pos"], position: Tensor, length: int) -> Tensor:
    column = position % tokens.shape[1]
    back = torch.arange(length, device=position.device)
    index = (position[:, None] - back).clamp_min(0)
    outside = (back > column[:, None]) | special.flatten()[index]
    outside = outside.int().cumsum(1) > 0  # what lies before a special token belongs to another document
    return tokens.flatten()[index].int().masked_fill(outside, ABSENT)
