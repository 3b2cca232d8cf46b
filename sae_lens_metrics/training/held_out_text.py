"""Evaluation tokens for a training run, held out without changing what training sees."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from datasets import Dataset, IterableDataset
from sae_lens import ActivationsStore

from sae_lens_metrics.errors import ConfigError, CorpusError
from sae_lens_metrics.functional.statistics import mean_with_error
from sae_lens_metrics.integrations.streams import ordered_shards, shard_being_read
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.subject.inference_sae import SCALED_OUTSIDE
from sae_lens_metrics.text.corpus import Corpus
from sae_lens_metrics.text.datasets import load_text_dataset
from sae_lens_metrics.text.reserve import Reserve, draw_with_reserve
from sae_lens_metrics.text.tokenization import Sequences, Tokenization, shortfall, token_store

__all__ = ["NOT_HELD_OUT", "HeldOutText", "hold_out", "training_sequences"]

logger = logging.getLogger("sae_lens_metrics")

NOT_HELD_OUT = (
    "the metrics may see text that training sees too: it cannot be shown that training does not reach the rows that they use. "
    "Give more training text than training reads, or a data set or split of its own (metrics.dataset, metrics.split)"
)
_SAMPLED_ROWS = 256
_MARGIN = 1.02
"""Rows that training needs are estimated three standard errors and this factor high."""
_ROWS_PER_SEQUENCE = 2
"""Rows to draw from, per wanted sequence, where there are that many: neighbouring sequences of one row tell less."""
_SHORT_SKIP = 5_000
"""Rows of a stream that are skipped to get past what training reads, without looking for another way."""
_LONGEST_SKIP = 100_000
"""Rows of a stream that are skipped if there is no other way."""
_OWN_SPLITS = ("validation", "valid", "dev", "test")
"""Splits that training does not read; SAELens trains on "train"."""


@dataclass(frozen=True)
class HeldOutText:
    """The evaluation tokens of a training run."""

    corpus: Corpus
    """The tokens; its source says whether they are held out."""
    reached: Callable[[ActivationsStore], bool]
    """Whether training has reached them."""

    def still_held_out(self, store: ActivationsStore) -> bool:
        """Whether it is known that training has not reached these rows yet."""
        return bool(self.corpus.source["held_out"]) and not self.reached(store)


@dataclass(frozen=True)
class _Rows:
    """Rows to draw evaluation text from."""

    rows: Dataset | IterableDataset
    first_row: int | None
    """The first row of the training set that they come from; ``None`` where that is unknown or another data set."""
    held_out: bool
    name: str
    first_shard: int | None = None
    """The first shard of the training set that they come from, where the row is unknown."""

    def reached(self, store: ActivationsStore) -> Callable[[ActivationsStore], bool]:
        """Tells whether training has come to these rows: by its count of rows, or by the shard that it reads in its first epoch."""
        first_epoch = getattr(store, "iterable_sequences", None)  # cached activations have none

        def reached(store: ActivationsStore) -> bool:
            if self.first_shard is None:
                return self.first_row is not None and store.n_dataset_processed >= self.first_row
            if not isinstance(store.dataset, IterableDataset) or store.iterable_sequences is not first_epoch:
                return True
            shard = shard_being_read(store.dataset)
            return store.n_dataset_processed > 0 and (shard is None or shard >= self.first_shard)

        return reached


def hold_out(store: ActivationsStore, cfg: Any, config: MetricsConfig) -> HeldOutText:
    """Chooses the evaluation tokens of a training run: the same for the same seed, also after a resume.

    They come from the user's ``metrics.dataset``, else from the rows of the training set after those that training reads: of a stream
    from its last shards, else from another split of it, else from rows to which it is skipped. Nothing is taken away from training, so
    its data stream is unchanged. Text counts as held out only where that can be shown; otherwise a warning says so and the results are
    marked.

    Args:
        store: The run's own store, which is left where it stands.
        cfg: The run's configuration, of SAELens's single-SAE or multi-SAE runner.
        config: ``tokens``, ``seed``, ``dataset`` and ``split`` are used.

    Raises:
        ConfigError: If training reads cached activations and no data set is given.
        CorpusError: If the data set is missing, too short, or was tokenised for another model.
    """
    wanted = max(2, config.tokens // store.context_size)
    rows = _rows(store, cfg, config, wanted)
    try:
        drawn, reserve = _draw(rows, store, wanted, config.seed)
    except CorpusError:
        if config.dataset is not None:  # the user's own choice
            raise
        rows = _Rows(store.dataset, 0, False, rows.name)  # pyright: ignore[reportArgumentType]
        drawn, reserve = _draw(rows, store, wanted, config.seed)
    notes = [*shortfall(drawn, wanted), *([] if rows.held_out else [NOT_HELD_OUT])]
    for note in notes:
        logger.warning(note)
    source = {"kind": "training", "name": rows.name, "held_out": rows.held_out, "first_row": rows.first_row, "seed": config.seed}
    if rows.first_shard is not None:
        source["first_shard"] = rows.first_shard
    held_out = reserve if rows.held_out else None  # more of the text that training reads would be no better
    return HeldOutText(Corpus(drawn.tokens, source, notes, drawn.documents, reserve=held_out), rows.reached(store))


def _draw(rows: _Rows, store: ActivationsStore, wanted: int, seed: int) -> tuple[Sequences, Reserve]:
    return draw_with_reserve(rows.rows, store.model, Tokenization.of_store(store), wanted, seed=seed)


def _rows(store: ActivationsStore, cfg: Any, config: MetricsConfig, wanted: int) -> _Rows:
    if config.dataset is not None:
        same = config.dataset == cfg.dataset_path and config.split == "train"  # SAELens trains on this split
        rows = load_text_dataset(config.dataset, config.split)
        shuffled = rows.shuffle(seed=config.seed) if isinstance(rows, Dataset) else rows
        return _Rows(shuffled, None, not same, f"{config.dataset}, {config.split}")
    name = cfg.dataset_path or "in memory"
    if not isinstance(store.dataset, Dataset | IterableDataset):
        raise ConfigError("training reads cached activations, so there is no text to evaluate on: give metrics.dataset")
    known = store.cached_activation_dataset is None  # else nobody knows which rows the activations are from
    needed = _rows_needed(store, store.dataset, training_sequences(cfg))
    if isinstance(store.dataset, Dataset):
        return _last_rows(store.dataset, needed, wanted, seed=config.seed, known=known, name=name)
    return _of_stream(store, needed, wanted, known=known, name=name)


def training_sequences(cfg: Any) -> int:
    """Sequences that a run reads: for training, its buffers, its norm estimate, and SAELens's own evaluations.

    Args:
        cfg: The configuration of SAELens's single-SAE or multi-SAE runner.
    """
    used = len(range(cfg.context_size)[slice(*cfg.seqpos_slice)])
    used = max(1, used - 2 * int(bool(cfg.exclude_special_tokens)))  # BOS, and now and then a separator
    normalizations = [sae.normalize_activations for sae in (getattr(cfg, "saes", None) or {"": cfg.sae}).values()]
    estimated = any(kind in SCALED_OUTSIDE for kind in normalizations)
    batches = int(cfg.prefetch_llm_batches) + (cfg.n_batches_for_norm_estimate if estimated else 0)
    tokens = cfg.training_tokens + batches * cfg.train_batch_size_tokens
    sequences = tokens // used + cfg.n_batches_in_buffer + 2 * cfg.store_batch_size_prompts
    if cfg.logger.log_to_wandb:
        steps = cfg.training_tokens // cfg.train_batch_size_tokens
        evaluations = steps // (cfg.logger.wandb_log_frequency * cfg.logger.eval_every_n_wandb_logs)
        per_evaluation = 2 * cfg.n_eval_batches * (cfg.eval_batch_size_prompts or cfg.store_batch_size_prompts)
        sequences += evaluations * per_evaluation * len(normalizations)
    return sequences


def _last_rows(dataset: Dataset, needed: int, wanted: int, *, seed: int, known: bool, name: str) -> _Rows:
    """Rows after those that training needs, in random order; the last ones where it needs them all."""
    enough = _ROWS_PER_SEQUENCE * wanted
    first = max(needed, len(dataset) - max(enough, len(dataset) // 4))
    spare = len(dataset) - first
    held_out = known and spare > 0
    if not held_out:
        first = max(0, len(dataset) - enough)
    return _Rows(dataset.select(range(first, len(dataset))).shuffle(seed=seed), first, held_out, name)


def _of_stream(store: ActivationsStore, needed: int, wanted: int, *, known: bool, name: str) -> _Rows:
    """Rows of a stream that training does not read, wherever they are found with the least reading; its first rows if nowhere."""
    stream: Any = store.dataset
    if known and needed > _SHORT_SKIP:
        rows = _last_shards(stream, needed, wanted, name=name) or _own_split(stream, name=name)
        if rows is not None:
            return rows
    return _rest_of_stream(stream, needed, wanted, reachable=known and needed <= _LONGEST_SKIP, name=name)


def _last_shards(stream: IterableDataset, needed: int, wanted: int, *, name: str) -> _Rows | None:
    """The last shards, as many as hold enough rows; whether training has come to them is seen each time."""
    shards = ordered_shards(stream)
    split = (stream.info.splits or {}).get("train")
    total = getattr(split, "num_examples", None)
    if shards < 2 or (total and needed >= total * (shards - 1) / shards):
        return None
    rows: list[Any] = []
    first = shards
    while first > 1 and len(rows) < _ROWS_PER_SEQUENCE * wanted:
        first -= 1
        rows += islice(iter(stream.shard(num_shards=shards, index=first)), _ROWS_PER_SEQUENCE * wanted - len(rows))
    return _Rows(Dataset.from_list(rows), None, True, name, first) if rows else None


def _own_split(stream: IterableDataset, *, name: str) -> _Rows | None:
    """Another split of the same data set; data sets that were handed over as objects have none by that name."""
    for split in _OWN_SPLITS:
        try:
            rows = load_text_dataset(name, split)
            first = next(iter(rows))
        except (CorpusError, StopIteration):
            continue
        if first.keys() == next(iter(stream.take(1))).keys():
            return _Rows(rows, None, True, f"{name}, {split}")
    return None


def _rest_of_stream(dataset: IterableDataset, needed: int, wanted: int, *, reachable: bool, name: str) -> _Rows:
    """Of a stream the rows after those that training needs, if they can be reached; else its first rows.

    Training reads a stream in the order in which it comes, shuffled or not, so what follows is not read.
    """
    start = needed if reachable else 0
    # not dataset.skip(): on a shuffled stream of several shards that gives another order
    taken = list(islice(iter(dataset), start, start + _ROWS_PER_SEQUENCE * wanted))
    if not taken:
        return _Rows(dataset.take(_ROWS_PER_SEQUENCE * wanted), 0, False, name)
    return _Rows(Dataset.from_list(taken), start, reachable, name)


def _rows_needed(store: ActivationsStore, dataset: Dataset | IterableDataset, sequences: int) -> int:
    """Rows that so many sequences take, estimated high from the lengths of some rows; one each where rows are tokenised already."""
    if store.is_dataset_tokenized:
        return sequences + 1
    if isinstance(dataset, Dataset):
        n = min(_SAMPLED_ROWS, len(dataset))
        chosen = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))[:n]
        sample = dataset.select(chosen.sort().values.tolist())
    else:
        sample = dataset.take(_SAMPLED_ROWS)
    # one row at a time through SAELens's own tokenisation, without cutting it into sequences
    rows = token_store(sample, store.model, Tokenization.of_store(store))
    lengths = torch.tensor([len(tokens) for tokens in rows._iterate_raw_dataset_tokens()], dtype=torch.float64)
    room = store.context_size - int(store.prepend_bos)
    per_row = (lengths >= room).double() if store.disable_concat_sequences else (lengths + 1) / room
    mean, stderr = mean_with_error(per_row)
    return int(sequences / max(mean - 3 * (stderr or 0.0), mean / 2, 1e-9) * _MARGIN) + 1
