"""What the metric "n2g" says about itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.metrics.figure_specs import DistributionFigure, NumbersFigure
from sae_lens_metrics.metrics.n2g.memory import n2g_memory
from sae_lens_metrics.metrics.spec import LatentColumn, MetricSpec, Number, Scale, moves_nothing, moves_sample

__all__ = ["SPEC", "N2GConfig"]


@dataclass
class N2GConfig:
    """N2G explanations: n-grams with wildcards (Gao et al. 2024, section 4.3)."""

    latents: int | None = field(default=None, metadata=moves_sample(short="--latents"))
    """Explain a random sample of so many latents; all by default."""
    tokens: int | None = field(default=None, metadata=moves_sample())
    """Tokens to sample activations from, by default as many as the corpus has: its first half, and more of the same data set. Rare latents
    need many: the fewer of their examples they have, the lower is their F1."""
    variant: Literal["released", "strict"] = "released"
    """"released" builds and matches as the authors' code does, "strict" mends its weaknesses."""
    examples: int = 16
    """Activations per latent that its explanation is built from; as many again measure its recall."""
    context: int = 64
    """Tokens a sequence, BOS included, as in the paper; longer ones are cut into several."""
    max_length: int | None = None
    """Longest n-gram to try; by default as long as the context. A limit of 16 is about three times as fast."""
    pad_token: int | None = None
    """Token id that shows whether a position matters; by default that of " _" as in the paper, or what ends its encoding."""
    shown: int = field(default=2, metadata=moves_nothing())
    """Examples of each of three kinds to show for each latent; one takes some 500 bytes in the result file, and 1.5 KB in memory."""
    folder: str | None = field(default=None, metadata=moves_nothing(folder=True))
    """Folder to keep explanations in; those that fit the SAE, the text and these settings are taken from there."""

    def __post_init__(self) -> None:
        for name, least in (
            ("latents", 1),
            ("tokens", 0),
            ("examples", 1),
            ("context", 3),
            ("max_length", 1),
            ("pad_token", 0),
            ("shown", 0),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"n2g.{name} is {value}, expected at least {least}")


def _cost(settings: N2GConfig, scale: Scale, others: Mapping[str, Any]) -> float:
    """Beside sampling, a latent takes some hundred positions up to the hook, more where n-grams are long, fewer where shared."""
    explaining = min(settings.latents or scale.d_sae, scale.d_sae) * 600
    return (explaining + max(settings.tokens or scale.tokens, scale.tokens / 2)) / 4 / scale.tokens


_SHARE = "share of latents"
_RARE = "of more latents more fire too rarely to have all the examples that an explanation is built from"

SPEC = MetricSpec(
    name="n2g",
    title="N2G explanations",
    summary="can n-grams say where latents fire: precision and recall",
    meaning="Can n-grams with wildcards say where a latent fires: precision and recall of such explanations, mean over latents.",
    trust="A low score does not say that a latent means nothing, only that it is no n-gram; dense latents are easy, and only whether "
    "a latent fires counts, not how strongly.",
    paper="4.3",
    headline="f1",
    numbers={
        "precision": Number(
            "precision, mean over latents",
            "share",
            "higher",
            "of an n-gram explanation: share of its predictions where the latent fires",
            shown=True,
            followed=True,
            over="those whose explanation fires",
            depends_on_size=_RARE,
            instead="precision_full_sample",
        ),
        "recall": Number(
            "recall, mean over latents",
            "share",
            "higher",
            "… share of the latent's activations that it predicts",
            shown=True,
            followed=True,
            depends_on_size=_RARE,
            instead="recall_full_sample",
        ),
        "f1": Number(
            "F1, mean over latents",
            "share",
            "higher",
            "… harmonic mean, latent by latent",
            shown=True,
            followed=True,
            overview=True,
            depends_on_size=_RARE,
            instead="f1_full_sample",
        ),
        "f1_full_sample": Number(
            "F1, mean over latents with a full sample",
            "share",
            "higher",
            "… mean over latents with a full sample: compare SAEs of different sizes by it",
            shown=True,
        ),
        "precision_full_sample": Number("precision, mean over latents with a full sample", "share", "higher", shown=False),
        "recall_full_sample": Number("recall, mean over latents with a full sample", "share", "higher", shown=False),
        "f1_of_means": Number(
            "harmonic mean of mean precision and mean recall, latents with a full sample", "share", "higher", shown=False
        ),
        "full_sample": Number("latents with a full sample", "latents", None, "… with all of their examples and 8 predictions", shown=True),
        "precision_by_density": Number("precision, latents weighted by how often they fire", "share", "higher", shown=False),
        "recall_by_density": Number("recall, latents weighted by how often they fire", "share", "higher", shown=False),
        "f1_by_density": Number(
            "F1, latents weighted by how often they fire", "share", "higher", "… latents weighted by how often they fire", shown=True
        ),
        "f1_sparse": Number(
            "F1, mean over latents that fire on at most 10 % of tokens",
            "share",
            "higher",
            shown=False,
            depends_on_size=_RARE,
            instead="f1_full_sample",
        ),
        "recall_text": Number(
            "recall on all positions of the second half, mean over latents",
            "share",
            "higher",
            shown=False,
            depends_on_size=_RARE,
            instead="recall_full_sample",
        ),
        "explained": Number("explained latents", "latents", None, "latents explained, of those asked about", shown=True),
        "dead": Number(
            "latents that never fire in the half of the text that explanations are built from",
            "latents",
            "lower",
            "… that never fire in the half of the text that explanations are built from",
            shown=True,
        ),
        "rare": Number("latents that fire too rarely to explain", "latents", None, "… that fire too rarely to explain", shown=True),
        "unexplained": Number("latents that fire, but have no pattern", "latents", "lower", shown=False),
        "never_fired": Number(
            "latents whose explanation never fires",
            "latents",
            "lower",
            "… of the explained, whose explanation never fires",
            shown=True,
        ),
        "dense": Number(
            "latents that fire on more than 10 % of tokens", "latents", None, "… that fire on more than 10 % of tokens", shown=True
        ),
    },
    settings=N2GConfig,
    presets={"train": {"latents": 32, "tokens": 0, "max_length": 16}, "paper": {"tokens": 2_097_152}},
    cost=_cost,
    memory=n2g_memory,
    given=("model", "context", "text_size"),
    cut_by="n2g.context",
    # latents are read, nothing is decoded
    controls={"permuted_decoder": "unmoved", "frozen_decoder": "beaten", "random": "beaten"},
    figures=(
        NumbersFigure(
            "precision_recall",
            "Precision and recall of N2G explanations",
            "Means over latents, higher is better. Figures 24 and 25 of Gao et al. 2024.",
            "share, mean over latents",
            {"precision": "precision", "recall": "recall", "f1": "F1"},
        ),
        DistributionFigure(
            "latents",
            "F1 of explanations, latent by latent",
            "How well n-grams say where each latent fires: 0 is not at all, 1 is always and nowhere else. Explained latents only.",
            "F1 of a latent's explanation",
            _SHARE,
            table="latents",
            column="f1",
            edges=tuple(i / 20 for i in range(21)),
        ),
        DistributionFigure(
            "density",
            "How often latents fire",
            "How often each latent fires: -2 is on one token in a hundred. Latents that never fire on this text are left out.",
            "log10 of the share of tokens",
            _SHARE,
            table="latents",
            column="density",
        ),
    ),
    latents=(
        LatentColumn("density", "Density", "share of tokens on which the latent fires", log=True, percent=True),
        LatentColumn("f1", "F1", "harmonic mean of precision and recall of its explanation", leading=True),
        LatentColumn("precision", "Precision", "share of the explanation's predictions where the latent fires"),
        LatentColumn("recall", "Recall", "share of the latent's activations that the explanation predicts"),
    ),
    examples=True,
    version=2,
    compute="sae_lens_metrics.metrics.n2g.compute:n2g",
)
