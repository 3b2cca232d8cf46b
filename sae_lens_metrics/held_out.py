"""Evaluation tokens for a training run, held out without changing what training sees."""

import logging
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset, IterableDataset
from sae_lens.training.activations_store import ActivationsStore

from sae_lens_metrics.config import MetricsConfig
from sae_lens_metrics.corpus import Corpus, Tokenization, load_text_dataset, sequences_from_store, token_store
from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.functional.statistics import mean_with_error

__all__ = ["HeldOut", "hold_out", "training_sequences"]

logger = logging.getLogger("sae_lens_metrics")

_SAMPLED_ROWS = 256
_MARGIN = 1.02
"""Rows that training needs are estimated three standard errors and this factor high."""
_LONGEST_SKIP = 100_000
"""Rows of a stream that may be skipped to get past what training reads."""
_TOO_SMALL = (
    "the training set is too small to hold out evaluation text: the metrics see text that training sees too. "
    "Give a data set or split of its own (metrics.dataset, metrics.split)"
)


@dataclass(frozen=True)
class HeldOut:
    """The evaluation tokens of a training run."""

    corpus: Corpus
    """The tokens; its source says whether they are expected to be held out."""
    first_row: int | None
    """The first row of the training set that they come from; ``None`` where that is unknown or another data set."""

    def still_held_out(self, store: ActivationsStore) -> bool:
        """Whether training has not reached these rows yet; exact where the row is known."""
        reached = self.first_row is not None and store.n_dataset_processed >= self.first_row
        return bool(self.corpus.source["held_out"]) and not reached


@dataclass(frozen=True)
class _Rows:
    """Rows to take evaluation text from."""

    rows: Dataset | IterableDataset
    first_row: int | None
    held_out: bool
    name: str


def hold_out(store: ActivationsStore, cfg: Any, config: MetricsConfig) -> HeldOut:
    """Chooses the evaluation tokens of a training run: the same for the same seed, also after a resume.

    They come from the user's ``metrics.dataset``, else from the end of the training set. Nothing is taken away from training, so
    its data stream is unchanged; where training would reach those rows, a warning says so and the results are marked.

    Args:
        store: The run's own store, which is left where it stands.
        cfg: The run's configuration, of SAELens's single-SAE or multi-SAE runner.
        config: ``tokens``, ``seed``, ``dataset`` and ``split`` are used.

    Raises:
        ConfigError: If training reads cached activations and no data set is given.
        CorpusError: If the data set is missing or too short.
    """
    wanted = max(2, config.tokens // store.context_size)
    rows = _rows(store, cfg, config, wanted)
    if not rows.held_out:
        logger.warning(_TOO_SMALL)
    # twice as many as wanted, of which the seed chooses
    sequences = sequences_from_store(token_store(rows.rows, store.model, Tokenization.of_store(store)), 2 * wanted)
    chosen = torch.randperm(len(sequences), generator=torch.Generator().manual_seed(config.seed))[:wanted]
    source = {"kind": "training", "name": rows.name, "held_out": rows.held_out, "first_row": rows.first_row, "seed": config.seed}
    return HeldOut(Corpus(sequences[chosen.sort().values], source, [] if rows.held_out else [_TOO_SMALL]), rows.first_row)


def _rows(store: ActivationsStore, cfg: Any, config: MetricsConfig, wanted: int) -> _Rows:
    if config.dataset is not None:
        return _Rows(load_text_dataset(config.dataset, config.split), None, True, f"{config.dataset}, {config.split}")
    name = cfg.dataset_path or "in memory"
    if isinstance(store.dataset, Dataset):
        return _last_rows(store, store.dataset, training_sequences(cfg), wanted, name)
    if isinstance(store.dataset, IterableDataset):
        return _end_of_stream(store, store.dataset, training_sequences(cfg), name)
    raise ConfigError("training reads cached activations, so there is no text to evaluate on: give metrics.dataset")


def training_sequences(cfg: Any) -> int:
    """Sequences that a run reads: for training, its buffer, its norm estimate, and SAELens's own evaluations.

    Args:
        cfg: The configuration of SAELens's single-SAE or multi-SAE runner.
    """
    used = len(range(cfg.context_size)[slice(*cfg.seqpos_slice)])
    used = max(1, used - int(bool(cfg.exclude_special_tokens) and cfg.prepend_bos))
    normalizations = [sae.normalize_activations for sae in (getattr(cfg, "saes", None) or {"": cfg.sae}).values()]
    estimated = any(kind in ("expected_average_only_in", "covariance_whitening") for kind in normalizations)
    tokens = cfg.training_tokens + (cfg.n_batches_for_norm_estimate * cfg.train_batch_size_tokens if estimated else 0)
    sequences = tokens // used + cfg.n_batches_in_buffer + 2 * cfg.store_batch_size_prompts
    if cfg.logger.log_to_wandb:
        steps = cfg.training_tokens // cfg.train_batch_size_tokens
        evaluations = steps // (cfg.logger.wandb_log_frequency * cfg.logger.eval_every_n_wandb_logs)
        per_evaluation = 2 * cfg.n_eval_batches * (cfg.eval_batch_size_prompts or cfg.store_batch_size_prompts)
        sequences += evaluations * per_evaluation * len(normalizations)
    return sequences


def _last_rows(store: ActivationsStore, dataset: Dataset, sequences: int, wanted: int, name: str) -> _Rows:
    """The last rows of a data set of known length, as many as are needed for the wanted sequences."""
    mean, error = _sequences_per_row(store, dataset)
    needed = int(sequences / max(mean - 3 * error, mean / 2) * _MARGIN) + 1
    spare = max(1, min(len(dataset), int(2 * wanted / mean * _MARGIN) + 1))
    first = len(dataset) - spare
    if first < needed:  # take fewer rows rather than rows that training reaches, if they give at least the wanted sequences
        first = max(first, min(needed, len(dataset) - int(wanted / mean) - 1))
    first = max(first, 0)
    return _Rows(dataset.select(range(first, len(dataset))), first, first >= needed, name)


def _end_of_stream(store: ActivationsStore, dataset: IterableDataset, sequences: int, name: str) -> _Rows:
    """The last shard of a stream, which training reaches last; of a stream in one piece, the rows after those it reads."""
    mean, error = _sequences_per_row(store, dataset)
    needed = int(sequences / max(mean - 3 * error, mean / 2) * _MARGIN) + 1
    shards = dataset.num_shards
    total = _number_of_rows(dataset)
    if shards > 1:
        reached = total is not None and needed > total * (shards - 1) / shards
        return _Rows(dataset.shard(num_shards=shards, index=shards - 1), None, not reached, name)
    if needed <= _LONGEST_SKIP and (total is None or needed < total):
        return _Rows(dataset.skip(needed), needed, True, name)
    return _Rows(dataset, 0, False, name)


def _number_of_rows(dataset: IterableDataset) -> int | None:
    splits = dataset.info.splits or {}
    split = splits.get(str(dataset.split)) if dataset.split else None
    return getattr(split, "num_examples", None) or None


def _sequences_per_row(store: ActivationsStore, dataset: Dataset | IterableDataset) -> tuple[float, float]:
    """How many sequences a row gives, mean and standard error over a sample; one if rows are tokenised already."""
    if store.is_dataset_tokenized:
        return 1.0, 0.0
    if isinstance(dataset, Dataset):
        n = min(_SAMPLED_ROWS, len(dataset))
        chosen = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))[:n]
        sample = dataset.select(chosen.sort().values.tolist())
    else:
        sample = dataset.take(_SAMPLED_ROWS)
    # one row at a time through SAELens's own tokenisation, without cutting it into sequences
    rows = token_store(sample, store.model, Tokenization.of_store(store))
    lengths = torch.tensor([len(tokens) for tokens in rows._iterate_raw_dataset_tokens()], dtype=torch.float64)
    if store.disable_concat_sequences:
        per_row = (lengths >= store.context_size - int(store.prepend_bos)).double()
    else:
        per_row = (lengths + 1) / (store.context_size - int(store.prepend_bos))
    mean, stderr = mean_with_error(per_row)
    return max(mean, 1e-9), stderr or 0.0
