"""N2G: n-gram explanations from the activations that they stand for (Foote et al. 2023; Gao et al. 2024, section 4.3).

For each example, a text that ends where a latent fires:

1. the shortest suffix on which the latent reaches half of its activation is kept;
2. the pattern is anchored to the start of a document if a padding token in front of the suffix takes it below half;
3. a position that a padding token can replace, with more than half of the suffix's activation left, becomes a wildcard.

`variant="released"` is the algorithm of the authors' released code: if no suffix reaches half, the whole text is kept with its own
activation; every position is tested alone, the last one too; of examples that end in the same pattern the last one's activation counts.
`variant="strict"` mends it: such an example gives no pattern; the last position never becomes a wildcard; the pattern with all of its
wildcards padded at once must keep more than half of the suffix's activation, else the most salient wildcards are put back until it does;
examples that end in the same pattern give their mean.

Only ratios of activations are compared, so a latent that fires with a negative value is explained as well.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_lens_metrics.errors import ExplanationError
from sae_lens_metrics.functional.distinct_rows import distinct, ends, hash_rows, hash_weights
from sae_lens_metrics.functional.ngram_questions import NOT_MASKED, Activate, Questions, Rows
from sae_lens_metrics.functional.ngrams import ABSENT, WILDCARD, NGram, Patterns, Variant
from sae_lens_metrics.functional.statistics import widest_float

__all__ = ["QUESTIONS", "Examples", "build_explanation", "build_patterns"]

_HALF = 0.5
QUESTIONS = 2**21
"""How many padded positions are asked about at once: some hundred megabytes of bookkeeping."""


@dataclass(frozen=True)
class Examples:
    """Texts that end where a latent fires, one row each."""

    latent: Int[Tensor, "examples"]
    """Which latent fires."""
    tokens: Int[Tensor, "examples longest"]
    """The text, int32, its LAST token first; ``ABSENT`` beyond its length."""
    activation: Float[Tensor, "examples"]
    """The latent's activation at the last token, not zero."""


def build_explanation(
    activate: Callable[[list[list[int]]], list[float]],
    examples: Sequence[tuple[Sequence[int], float]],
    *,
    pad_token: int,
    variant: Variant = "released",
) -> list[NGram]:
    """Explains one latent, with any activation function.

    Args:
        activate: Gives the latent's activation on the last token of each of some token lists; none is empty, no two are the same.
        examples: Token lists that end where the latent fires, with its activation there.
        pad_token: The token that shows whether a position matters.
        variant: ``"released"`` as the authors' code does it, ``"strict"`` with its weaknesses mended.

    Returns:
        The explanation's n-grams, no two of them alike in tokens and start.

    Raises:
        ExplanationError: If an example is empty or its activation is zero, the padding token is negative, or ``activate`` returns
            another number of values than it was given rows.
    """
    if any(len(tokens) == 0 for tokens, _ in examples):
        raise ExplanationError("an example holds no token: expected the text up to and with the token on which the latent fires")

    def ask(rows: Rows, row: Tensor, latent: Tensor) -> Tensor:
        written = rows.materialise().tolist()
        values = activate(written)
        if len(values) != len(written):
            raise ExplanationError(f"activate returned {len(values)} values for {len(written)} token lists: expected one for each")
        return torch.tensor(values, dtype=torch.float64)[row]

    texts = Patterns.from_ngrams({0: [NGram(tuple(tokens), False, activation) for tokens, activation in examples]})
    patterns = build_patterns(ask, Examples(texts.latent, texts.tokens, texts.value), pad_token=pad_token, variant=variant)
    return patterns.to_ngrams().get(0, [])


def build_patterns(
    activate: Activate, examples: Examples, *, pad_token: int, variant: Variant, progress: Callable[[int], object] | None = None
) -> Patterns:
    """Explains many latents at once.

    Rows of one length are run together, each distinct row once for all latents that ask about it; only where there are more than two
    million questions about padded positions are they put in parts. Memory grows with the examples, not with the rows.

    Args:
        activate: Runs the model.
        examples: The examples of all latents.
        pad_token: The token that shows whether a position matters.
        variant: ``"released"`` or ``"strict"``.
        progress: Told how many examples are done with a step; each example goes through two.

    Returns:
        The patterns; of one latent no two are alike in tokens and start.

    Raises:
        ExplanationError: If an activation is zero or the padding token is negative.
    """
    if pad_token < 0:
        raise ExplanationError(f"the padding token is {pad_token}: expected the id of a token")
    if bool((examples.activation == 0).any()):
        raise ExplanationError("an example's activation is zero: expected texts on which the latent fires")
    questions = Questions(activate, pad_token, progress or (lambda done: None))
    suffixes = _shortest_suffixes(questions, examples, keep_whole=variant == "released")
    tokens, at_start = suffixes.tokens.clone(), torch.zeros_like(suffixes.latent, dtype=torch.bool)
    for step in _steps(suffixes):
        behind_padding, masked = _try_padding(questions, suffixes, step, last_too=variant == "released")
        at_start[step.shorter] = behind_padding / suffixes.activation[step.shorter] < _HALF
        if len(step.full):
            wildcard = _wildcards(questions, suffixes, step, masked, variant)
            tokens[step.full, : step.length] = tokens[step.full, : step.length].masked_fill(wildcard.flip(1), WILDCARD)
            questions.progress(len(step.full))
    return _merged(Patterns(suffixes.latent, tokens, at_start, suffixes.suffix_activation), variant)


@dataclass(frozen=True)
class _Suffixes(Examples):
    """Examples, cut to the suffixes that were kept."""

    suffix_activation: Float[Tensor, "examples"]
    """The latent's activation on the suffix alone."""


def _shortest_suffixes(questions: Questions, examples: Examples, *, keep_whole: bool) -> _Suffixes:
    """Cuts each example to its shortest suffix with half of the activation; where there is none, keeps all of it or drops it."""
    activation = examples.activation.to(widest_float(examples.activation.device))
    suffix_activation, whole = activation.clone(), (examples.tokens != ABSENT).sum(1)
    found = torch.zeros_like(whole)
    searching = torch.arange(len(whole), device=whole.device)
    for length in range(1, examples.tokens.shape[1] + 1):
        before = len(searching)
        searching = searching[whole[searching] >= length]
        answers = questions.ask(examples.tokens[searching, :length].flip(1), examples.latent[searching])
        enough = answers / activation[searching] >= _HALF
        suffix_activation[searching[enough]] = answers[enough]
        found[searching[enough]] = length
        searching = searching[~enough]
        questions.progress(before - len(searching))
    length = torch.where(found > 0, found, whole if keep_whole else 0)
    kept = length.nonzero()[:, 0]
    beyond = torch.arange(examples.tokens.shape[1], device=whole.device) >= length[kept, None]
    tokens = examples.tokens[kept].masked_fill(beyond, ABSENT)
    return _Suffixes(examples.latent[kept], tokens, activation[kept], suffix_activation[kept])


class _Step(NamedTuple):
    """The suffixes that need rows of one length: themselves with a position padded, and shorter ones with padding in front."""

    length: int
    shorter: Int[Tensor, "shorter"]
    full: Int[Tensor, "full"]


def _steps(suffixes: _Suffixes) -> Iterator[_Step]:
    lengths = (suffixes.tokens != ABSENT).sum(1)
    longest = int(lengths.max()) if len(lengths) else 0
    for length in range(1, longest + 2):
        shorter, full = (lengths == length - 1).nonzero()[:, 0], (lengths == length).nonzero()[:, 0]
        for part in full.split(max(1, QUESTIONS // length)):
            if len(shorter) + len(part):
                yield _Step(length, shorter, part)
            shorter = shorter[:0]


def _in_text_order(suffixes: _Suffixes, step: _Step) -> Int[Tensor, "full length"]:
    """The suffixes of a step's length; where there are none, the step may be longer than the longest."""
    tokens = suffixes.tokens[step.full, : step.length].flip(1)
    return tokens if len(tokens) else tokens.new_empty(0, step.length)


def _try_padding(
    questions: Questions, suffixes: _Suffixes, step: _Step, *, last_too: bool
) -> tuple[Float[Tensor, "shorter"], Float[Tensor, "full length"]]:
    """Activations with padding in front, and with each position padded in turn; the last position's is zero where it is not asked."""
    shorter = suffixes.tokens[step.shorter, : step.length - 1].flip(1)
    padding = shorter.new_full((len(shorter), 1), questions.pad_token)
    full = _in_text_order(suffixes, step)
    tokens = torch.cat([torch.cat([padding, shorter], 1), full])
    positions = torch.arange(step.length if last_too else step.length - 1, device=tokens.device)
    in_front = len(shorter)
    ngram = torch.arange(len(tokens), device=tokens.device)
    asked = torch.cat([ngram[:in_front], ngram[in_front:].repeat_interleave(len(positions))])
    masked = torch.cat([torch.full_like(step.shorter, NOT_MASKED), positions.repeat(len(full))])
    latents = torch.cat([suffixes.latent[step.shorter], suffixes.latent[step.full]])
    answers = questions.ask(tokens, latents[asked], asked, masked)
    activations = answers.new_zeros(full.shape)
    activations[:, : len(positions)] = answers[in_front:].view(len(full), len(positions))
    return answers[:in_front], activations


def _wildcards(
    questions: Questions, suffixes: _Suffixes, step: _Step, masked: Float[Tensor, "full length"], variant: Variant
) -> Bool[Tensor, "full length"]:
    """Which positions become wildcards."""
    saliency = 1 - masked / suffixes.suffix_activation[step.full, None]
    wildcard = saliency < _HALF
    if variant == "strict":
        wildcard[:, -1] = False
        _put_back(questions, suffixes, step, wildcard, saliency)
    return wildcard


def _put_back(
    questions: Questions, suffixes: _Suffixes, step: _Step, wildcard: Bool[Tensor, "full length"], saliency: Float[Tensor, "full length"]
) -> None:
    """Makes the most salient wildcards tokens again, of equals the one nearest the end, until the rest can all be padded at once."""
    tokens, reference = _in_text_order(suffixes, step), suffixes.suffix_activation[step.full]
    doubtful = (wildcard.sum(1) > 1).nonzero()[:, 0]  # one alone has been tried already
    while len(doubtful):
        rows = tokens[doubtful].masked_fill(wildcard[doubtful], questions.pad_token)
        lost = 1 - questions.ask(rows, suffixes.latent[step.full[doubtful]]) / reference[doubtful]
        doubtful = doubtful[lost >= _HALF]
        backwards = torch.where(wildcard[doubtful], saliency[doubtful], -torch.inf).flip(1)
        wildcard[doubtful, step.length - 1 - backwards.argmax(1)] = False
        doubtful = doubtful[wildcard[doubtful].sum(1) > 1]


def _merged(patterns: Patterns, variant: Variant) -> Patterns:
    """One pattern for all of a latent that are alike: with the last value, or in the strict variant their mean; sorted by latent."""
    rows = torch.cat([patterns.latent[:, None], patterns.at_start[:, None].long(), patterns.tokens], 1)
    first, kind = distinct(torch.stack([hash_rows(rows, weights) for weights in hash_weights(rows)]))
    value = patterns.value[ends(kind, len(first), "amax")]
    if variant == "strict":
        sums = torch.zeros_like(value).index_add(0, kind, patterns.value)
        value = sums / kind.bincount(minlength=len(first))
    order = first.argsort()
    order = order[patterns.latent[first[order]].argsort(stable=True)]
    first = first[order]
    longest = max(1, int(patterns.length.max())) if len(patterns) else 1
    return Patterns(patterns.latent[first], patterns.tokens[first, :longest], patterns.at_start[first], value[order].float())
