"""Building N2G explanations: the package, and the same algorithm for one latent at a time in plain batches."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.benchmark.rate import Rate, Work
from sae_lens_metrics.benchmark.synthetic import Bench
from sae_lens_metrics.benchmark.timing import finished, seconds_of
from sae_lens_metrics.functional.ngram_building import Examples, build_explanation, build_patterns
from sae_lens_metrics.functional.ngram_questions import Rows
from sae_lens_metrics.functional.ngrams import ABSENT
from sae_lens_metrics.metrics.n2g.short_runs import ShortRuns

__all__ = ["Explained", "n2g_rate"]

_EXAMPLES = 16
_LONGEST = {"cpu": 4}
_LONGEST_ELSEWHERE = 16
"""Tokens of an example."""
_BATCH = 16
"""Rows that the plain way runs at once, as the released code does."""
_SAMPLE = 1
"""Latents that it explains."""


class Explained:
    """Latents of a text with some of their activations, and both ways to explain them.

    Args:
        bench: The model and the SAE.
        latents: How many latents to explain, those that fire most.
    """

    def __init__(self, bench: Bench, latents: int) -> None:
        self._subject = bench.subject
        self._pad = bench.shape.vocabulary - 1
        self.rows = self.positions = 0
        tokens = bench.tokens(4 if bench.is_cpu else 256, seed=2)
        self.longest = _LONGEST.get(bench.device.type, _LONGEST_ELSEWHERE)
        x = self._subject.site.activations(self._subject.site.prefix(tokens))[:, self.longest - 1 :]
        parts = x.flatten(0, 1).split(self._subject.dictionary.chunk)
        fires = torch.cat([torch.stack([*(z := self._subject.dictionary.encode(part)).nonzero().T, z[z != 0]], 1) for part in parts[:1]])
        self.examples = _examples(tokens, fires, latents, self.longest)

    @property
    def latents(self) -> list[int]:
        """Those that are explained."""
        return self.examples.latent.unique().tolist()

    def build(self) -> None:
        """Explains all by the package, counting distinct rows and the positions that were run."""
        self.rows = 0
        with ShortRuns(self._subject) as runs:

            def counting(rows: Rows, row: Int[Tensor, "asked"], latent: Int[Tensor, "asked"]) -> Float[Tensor, "asked"]:
                self.rows += len(rows)
                return runs(rows, row, latent)

            build_patterns(counting, self.examples, pad_token=self._pad, variant="released")
        self.positions = runs.positions

    def build_plainly(self, latents: list[int]) -> int:
        """Explains some one by one; gives how many rows were run."""
        return sum(self._explain(latent) for latent in latents)

    def _explain(self, latent: int) -> int:
        own, asked = self.examples.latent == latent, 0
        texts = [[token for token in reversed(tokens) if token != ABSENT] for tokens in self.examples.tokens[own].tolist()]

        def activate(rows: list[list[int]]) -> list[float]:
            nonlocal asked
            asked += len(rows)
            return [value for i in range(0, len(rows), _BATCH) for value in self._activations(rows[i : i + _BATCH], latent)]

        build_explanation(activate, list(zip(texts, self.examples.activation[own].tolist(), strict=True)), pad_token=self._pad)
        return asked

    def _activations(self, rows: list[list[int]], latent: int) -> list[float]:
        padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
        z = self._subject.dictionary.encode(self._subject.site.activations(self._subject.site.prefix(padded)))
        return [float(acts[len(row) - 1, latent]) for acts, row in zip(z, rows, strict=True)]


def _examples(tokens: Int[Tensor, "sequences context"], fires: Float[Tensor, "fires 3"], latents: int, longest: int) -> Examples:
    """Up to 16 texts of some length for each of the latents that fire most; each row of ``fires`` is a position, a latent and a value."""
    position, latent = fires[:, 0].long(), fires[:, 1].long()
    most = latent.bincount().topk(latents).indices
    chosen = torch.cat([(latent == each).nonzero()[:_EXAMPLES, 0] for each in most.sort().values.tolist()])
    per_sequence = tokens.shape[1] - longest + 1
    sequence, column = position[chosen] // per_sequence, position[chosen] % per_sequence + longest - 1
    back = column[:, None] - torch.arange(longest, device=tokens.device)
    return Examples(latent[chosen], tokens[sequence[:, None], back].int(), fires[chosen, 2])


def n2g_rate(bench: Bench) -> Rate:
    """Distinct rows per second that are run up to the hook and encoded."""
    explained = Explained(bench, 8 if bench.is_cpu else 512)
    seconds = seconds_of(explained.build, bench.device, at_least=bench.seconds)
    rows = 0

    def plainly() -> None:
        nonlocal rows
        rows = explained.build_plainly(explained.latents[:_SAMPLE])

    slow = finished(plainly, bench.device)
    work = Work((explained.positions * bench.shape.to_hook + explained.rows * bench.shape.encoding) / explained.rows, "matrix products")
    what = f"N2G of {explained.longest}-token texts"
    return Rate("n2g", what, "rows", explained.rows / seconds, work, "one latent at a time", rows / slow)
