"""Reader of data sets on the Hugging Face hub: streamed, from named files, so that no more is fetched than is needed."""

import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import Any

from sae_lens_metrics.errors import MetricsError
from sae_lens_metrics.metrics.probe.tasks.catalogue import CatalogueEntry, catalogue
from sae_lens_metrics.metrics.probe.tasks.preparation import LabelledText
from sae_lens_metrics.metrics.probe.tasks.recasts import pairs_as_examples
from sae_lens_metrics.metrics.probe.tasks.task import TaskError

__all__ = ["hub_examples"]

_SHORTEST_SENTENCE = 20
"""Characters; shorter ones, such as names and numbers, are the same in several languages."""

_TIMEOUT = 10
"""Seconds."""

_AGAIN = 300
"""Seconds for which a hub that could not be reached is taken to be still away: every task and evaluation would wait for its time-out."""

_NO_CONNECTION = {"ConnectionError", "TimeoutError", "TransportError", "Timeout", "OfflineModeIsEnabled"}
"""Names of errors and their bases, which differ between the versions of `datasets` and its HTTP client."""

_UNREACHABLE = 'the Hugging Face hub cannot be reached: connect this machine to it, or choose the tasks "offline", which need no network'

_unreachable_until = [float("-inf")]
"""When to try again, in seconds of the process's clock."""


def hub_examples(entry: CatalogueEntry, n_examples: int, rng: random.Random) -> list[LabelledText]:
    """Twice as many examples as are needed, where the source has them, for the seed to choose from.

    Raises:
        TaskError: There is no connection, or was none a few minutes ago; or the data set is not there, or not as expected.
    """
    if time.monotonic() < _unreachable_until[0]:
        raise TaskError(_UNREACHABLE)
    try:
        return _examples(entry, n_examples, rng)
    except MetricsError:
        raise
    except Exception as error:  # every layer has its own errors; what the user needs is what to do
        if _is_connection(error):
            _unreachable_until[0] = time.monotonic() + _AGAIN
            raise TaskError(_UNREACHABLE) from error
        reason = str(error).strip().split("\n")[0]
        raise TaskError(_where(entry, f"cannot be read ({type(error).__name__}: {reason})")) from error


def _examples(entry: CatalogueEntry, n_examples: int, rng: random.Random) -> list[LabelledText]:
    if entry.recast == "against":
        return _against_family(entry, n_examples, rng)
    rows = _rows(entry)
    if entry.recast == "pair":
        return pairs_as_examples(islice(rows, 2 * n_examples), entry.columns, lambda row: entry.text.format(**row), rng)
    return _until_enough((LabelledText(entry.text.format(**row), str(row[entry.label]) == entry.positive) for row in rows), n_examples)


def _until_enough(examples: Iterable[LabelledText], n_examples: int) -> list[LabelledText]:
    """Reads on until there are n different examples of each class, as sources may be sorted by class."""
    taken: list[LabelledText] = []
    texts: dict[bool | str, set[str]] = {True: set(), False: set()}
    for example in examples:
        taken.append(example)
        texts[example.label].add(example.text)
        if min(map(len, texts.values())) >= n_examples:
            break
    return taken


def _against_family(entry: CatalogueEntry, n_examples: int, rng: random.Random) -> list[LabelledText]:
    """The entry's own sentences, against equally many of each other entry of its family; none that two of them share."""
    family = [other for other in catalogue().values() if other.family == entry.family]
    sentences = {member.name: _sentences(member, n_examples) for member in family}
    holders = Counter(text for texts in sentences.values() for text in texts)
    share = -(-n_examples // 2 // (len(family) - 1))
    examples = []
    for name, texts in sentences.items():
        own = [text for text in texts if holders[text] == 1]
        chosen = own if name == entry.name else rng.sample(own, min(share, len(own)))
        examples += [LabelledText(text, name == entry.name) for text in chosen]
    return examples


@lru_cache(maxsize=16)  # each language is read once, not once for each of the tasks
def _sentences(entry: CatalogueEntry, n_sentences: int) -> list[str]:
    texts = (text for row in _rows(entry) if len(text := entry.text.format(**row)) >= _SHORTEST_SENTENCE)
    return list(islice(dict.fromkeys(islice(texts, 2 * n_sentences)), n_sentences))


def _rows(entry: CatalogueEntry) -> Iterator[dict[str, Any]]:
    for row in _stream(entry):
        absent = [name for name in entry.columns if name not in row]
        if absent:
            raise TaskError(_where(entry, f"has no column {', '.join(absent)}, but {', '.join(row)}"))
        yield row


def _stream(entry: CatalogueEntry) -> Iterable[dict[str, Any]]:
    from datasets import load_dataset  # takes seconds
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    get_session().head(constants.ENDPOINT, timeout=_TIMEOUT)  # without a connection this fails at once; what follows tries for a minute
    return load_dataset(entry.source, data_files={"train": entry.files}, revision=entry.revision, split="train", streaming=True)


def _where(entry: CatalogueEntry, what: str) -> str:
    return f'the data set {entry.source} ({entry.files} at revision {entry.revision}) {what}; choose other tasks, such as "offline"'


def _is_connection(error: BaseException | None) -> bool:
    while error is not None:
        if _NO_CONNECTION & {base.__name__ for base in type(error).__mro__}:
            return True
        error = error.__cause__ or error.__context__
    return False
