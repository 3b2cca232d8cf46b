"""Sparsity of ablation effects: how few logits does a latent touch (Gao et al. 2024, section 4.5)?"""

from collections.abc import Iterator

import torch
from jaxtyping import Int
from torch import Tensor

from sae_lens_metrics.errors import ConfigError, SubjectError
from sae_lens_metrics.integrations.progress import progress
from sae_lens_metrics.metrics.ablation.effects import Ablations
from sae_lens_metrics.metrics.ablation.records import Records
from sae_lens_metrics.metrics.ablation.sequence_groups import SequenceGroup
from sae_lens_metrics.metrics.ablation.spec import AblationConfig
from sae_lens_metrics.metrics.context import MetricContext
from sae_lens_metrics.results import MetricResult
from sae_lens_metrics.subject.changes import Changes
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.batches import check_vocabulary
from sae_lens_metrics.text.corpus import Corpus

__all__ = ["ablation", "places_to_ablate"]


def ablation(context: MetricContext) -> MetricResult:
    """Subtracts what active latents add at one position of each sequence, and asks how many logits change from there on.

    An effect is the vector of V·T differences of logits, ablated minus not ablated, over the vocabulary and T tokens from the position
    on, from each token's the median subtracted; its sparsity is (L1 / L2)² / (V·T), from 1 / (V·T) to 1. The SAE's error term stays in
    place, or, with ``reference="reconstruction"``, its reconstruction stands in the place of the activation before anything is ablated.

    - ``sparsity``: mean over sequences of the mean over active latents, the paper's number; lower is sparser.
      ``sparsity_weighted`` weights latents by the size of their effect.
    - ``channels_sparsity``: the same for residual channels that are zeroed at the position; ``channels_lasting_sparsity``: at all T
      tokens, as a channel, unlike a latent, is active everywhere. The 60 % that the paper reports for channels can only come from the
      latter: what is changed at one token reaches others but weakly. ``random_sparsity``: for random directions at the position, as
      long as what ablated latents add. ``gaussian`` is 2/π, where all logits change independently.
    - ``sparsity_minus_channels``, ``sparsity_minus_random`` and so on: paired differences over sequences, below 0 where latents are
      sparser.
    - ``tokens_affected`` (and with the prefixes of the baselines): the fraction of the T tokens that are touched, (Σ_t |d_t|)² /
      (T Σ_t |d_t|²), from 1/T to 1; ``effect``: the L2 norm of an effect, in logits.
    - ``noise_floor``: the length of the effect of a change as small as rounding, in logits: what the model's arithmetic alone does.
      ``effect_over_noise``: how many times as long the effects of latents are. Where that is below 10, sparsities say more about
      rounding than about latents, and are absent. The layers after the hook are run in float32, whatever the model's type is; only where
      that is impossible (quantised weights, or weights that are not in memory) does its own arithmetic count.
    - ``no_effect``: the share of ablations that change no logit, which have no sparsity; ``inactive``: of positions with no active latent.
    - the histogram ``distribution``: the sparsities of all ablations. The table ``latents``: means of each latent that was ablated.
      ``effects``: the tokens that its strongest ablation raises and lowers most, summed over T tokens.

    The standard errors are over documents, where they are known, or sequences.

    Args:
        context: The run: subject, text and settings; the generator draws what is random.

    Raises:
        ConfigError: If no position that counts has T tokens left in the context.
    """
    subject, corpus, config, generator = context.subject, context.corpus, context.config, context.generator
    part, columns = places_to_ablate(subject, corpus, config.ablation, generator)
    # a seed for each sequence, so that what is drawn for one depends neither on the SAE's latents in another nor on the batch size
    seeds = torch.randint(2**62, (len(part),), generator=generator).tolist()
    changes, memory, remarks = _precise(subject, config.memory_gb * 2**30)
    at_once = min(subject.site.rows_at_once(part.tokens.shape[1], config.batch_size), max(1, len(part) // context.ranks.size))
    groups = context.ranks.mine(list(_groups(columns, at_once)))

    def ablated() -> Records:
        records = Records(len(part))
        total = sum(len(sequences) for sequences, _ in groups)
        with progress("ablation", unit="sequence", total=total) as bar, Ablations(subject, changes, memory) as effects_of:
            for sequences, column in groups:
                group = SequenceGroup(subject, changes, part, sequences, column, config.ablation)
                for kind, made in group.changes([torch.Generator().manual_seed(seeds[i]) for i in sequences.tolist()]).items():
                    shown = config.ablation.shown if kind == "" else 0
                    records.add(kind, group, made, effects_of(group.onwards, made.rows, made.changed, shown=shown))
                bar.update(len(sequences))
        return records

    return Records.joined(context.ranks.each(ablated)).result(subject, part, config.ablation, remarks)


def _precise(subject: Subject, memory: float) -> tuple[Changes, float, list[str]]:
    """Runs of the layers after the hook, in float32 where that is possible, the memory left for them; and a remark where it is not."""
    own = subject.site.changes
    try:
        wide = own.in_float32(memory / 2)
    except SubjectError as error:
        return own, memory, [f"{error}: small effects are rounded away, see noise_floor"]
    return wide, memory if wide is own else memory / 2, []


def places_to_ablate(
    subject: Subject, corpus: Corpus, config: AblationConfig, generator: torch.Generator
) -> tuple[Corpus, Int[Tensor, "places"]]:
    """The sequences, and the position to ablate in each: a few positions over the whole context, which sequences take in turn.

    Where the corpus has fewer sequences than are wanted, they come again, at positions that they have not been ablated at.

    Args:
        subject: Whose special tokens and positions count.
        corpus: The text.
        config: How many sequences and positions, and how many tokens must be left from each on.
        generator: Draws the positions.

    Returns:
        The sequences, one for each place, and the positions, -1 where there is a special token.

    Raises:
        ConfigError: If no position that counts has so many tokens left.
        SubjectError: If a token is not in the model's vocabulary.
    """
    part = corpus.spread(config.sequences)
    check_vocabulary(part.tokens, subject)
    context = part.tokens.shape[1]
    valid = subject.site.valid(part.tokens).cpu()
    possible = valid[:, : max(0, context - config.tokens + 1)].any(0).nonzero()[:, 0]
    if not len(possible):
        raise ConfigError(
            f"ablation.tokens is {config.tokens}: no position in sequences of {context} tokens has as many left, expected fewer"
        )
    n = min(config.positions, len(possible), config.sequences)
    # one at random from each of n equal parts of the context
    edges = torch.linspace(0, len(possible), n + 1).round().long()
    within = (torch.rand(n, generator=generator) * edges.diff()).long()
    place = torch.arange(min(config.sequences, n * len(part)))
    sequence, again = place % len(part), place // len(part)
    columns = possible[edges[:-1] + within][(sequence + again) % n]
    return part.some(sequence), columns.where(valid[sequence, columns], -1)


def _groups(columns: Int[Tensor, "sequences"], size: int) -> Iterator[tuple[Int[Tensor, "n"], int]]:
    """Sequences that are ablated at the same position, so many at once."""
    for column in columns.unique().tolist():
        if column >= 0:
            for sequences in (columns == column).nonzero()[:, 0].split(size):
                yield sequences, column
