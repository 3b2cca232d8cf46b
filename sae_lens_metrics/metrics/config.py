"""What to evaluate and how: one dataclass per metric, and presets."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from sae_lens_metrics.errors import ConfigError

__all__ = ["AblationConfig", "ExplanationConfig", "MetricsConfig", "N2GConfig", "Preset", "ProbeConfig", "ShrinkageConfig"]

Preset = Literal["train", "default", "paper"]


@dataclass
class ProbeConfig:
    """1d probes on known features (Gao et al. 2024, section 4.2)."""

    tasks: list[str] = field(default_factory=lambda: ["generated"])
    """Names of probe tasks or of families; "all" for the paper's 61, "offline" for the 49 of them that need no network, "generated" for
    those that need no package either. `sae-lens-metrics tasks` lists them."""
    task_files: list[str] = field(default_factory=list)
    """Files with tasks of your own, besides `tasks`: .csv, .jsonl or .parquet with the columns text and label."""
    examples: int = 2_000
    """Texts per task at most, half of them held out."""
    max_tokens: int | None = None
    """A longer text loses its beginning; by default only where it exceeds the SAE's context."""
    pooling: Literal["last", "mean", "max"] = "last"
    """What a probe reads: the text's last token, or the mean or the maximum of a latent over all tokens but BOS."""
    strict: bool = False
    """Whether a task that cannot be loaded is an error; otherwise it is named and left out."""

    def __post_init__(self) -> None:
        self.tasks = [name for names in self.tasks for name in names.split(",")]
        if self.max_tokens is not None and self.max_tokens < 2:
            raise ConfigError(f"probe.max_tokens is {self.max_tokens}, expected at least 2: one for BOS, one to probe")
        if self.examples < 20:
            raise ConfigError(f"probe.examples is {self.examples}, expected at least 20 to fit and test a probe")


@dataclass
class N2GConfig:
    """N2G explanations: n-grams with wildcards (Gao et al. 2024, section 4.3)."""

    latents: int | None = None
    """Explain a random sample of so many latents; all by default."""
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
    shown: int = 2
    """Examples of each of three kinds to show for each latent; one takes some 500 bytes in the result file, and 1.5 KB in memory."""
    folder: str | None = None
    """Folder to keep explanations in; those that fit the SAE, the text and these settings are taken from there."""

    def __post_init__(self) -> None:
        for name, least in (("latents", 1), ("examples", 1), ("context", 3), ("max_length", 1), ("pad_token", 0), ("shown", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"n2g.{name} is {value}, expected at least {least}")


@dataclass
class ExplanationConfig:
    """Explanation reconstruction: the model run on latents simulated from their explanations (Gao et al. 2024, section 4.4)."""

    min_f1: float = 0.5
    """Latents whose explanation has at least this F1 count as explained, for the loss with those alone."""
    bigrams: int = 262_144
    """Different pairs of tokens to keep mean activations of, at most; each takes 4 bytes times the activation's width."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_f1 <= 1:
            raise ConfigError(f"explanation.min_f1 is {self.min_f1}, expected 0 to 1")
        if self.bigrams < 1:
            raise ConfigError(f"explanation.bigrams is {self.bigrams}, expected at least 1")


@dataclass
class AblationConfig:
    """Sparsity of ablation effects: how few logits a latent touches (Gao et al. 2024, section 4.5)."""

    tokens: int = 16
    """Tokens over which effects are measured, from the ablated one on; the paper's T."""
    sequences: int = 256
    """Sequences of the corpus, each ablated at one position."""
    positions: int = 16
    """Different positions, spread over the context; sequences take them in turn, as runs at one position are shared."""
    latents: int | None = 32
    """Active latents to ablate at a position: a random sample where there are more. None (in Python) for all of them."""
    baselines: int = 16
    """Channels to zero, and random directions to subtract, at a position."""
    reference: Literal["activation", "reconstruction"] = "activation"
    """What a latent is subtracted from: "activation" keeps the SAE's error term, "reconstruction" puts the SAE in place first."""
    shown: int = 5
    """Tokens to show for each latent, of those that its ablation raises and lowers most."""

    def __post_init__(self) -> None:
        least = {"tokens": 1, "sequences": 2, "positions": 1, "latents": 1, "baselines": 1, "shown": 0}
        for name, value in ((name, getattr(self, name)) for name in least):
            if value is not None and value < least[name]:
                raise ConfigError(f"ablation.{name} is {value}, expected at least {least[name]}")


@dataclass
class ShrinkageConfig:
    """Activation shrinkage: what a refinement of the active latents changes (Gao et al. 2024, section 5.1)."""

    solver: Literal["exact", "pgd"] = "exact"
    """"exact" solves to the optimum, "pgd" is the paper's projected gradient descent; both minimise the same error."""
    tokens: int = 32_768
    """Tokens to refine, whole sequences from the beginning of the corpus."""


@dataclass
class MetricsConfig:
    """Everything that a result depends on besides the SAE, the model and the text."""

    names: list[str] = field(default_factory=lambda: ["probe", "n2g", "explanation", "ablation", "shrinkage"], metadata={"cmd": False})
    """Metrics to compute; on the command line this is ``--metrics NAME,NAME``."""
    tokens: int = 65_536
    """Tokens of evaluation text."""
    seed: int = 0
    """Seed of the evaluation tokens and of every metric's random numbers."""
    batch_size: int = 32
    """Sequences that the model runs at once."""
    dataset: str | None = None
    """Data set of the evaluation text: a hub name, a folder written by `datasets`, or a .txt, .jsonl or .parquet file.
    In training the default is the rows of the training set that training will not reach."""
    split: str = "train"
    """Split of `dataset`."""
    memory_gb: float = 2.0
    """Memory in GiB for what "probe" and "ablation" hold at once, beyond the model, the SAE and the text."""
    max_overhead: float = 0.05
    """In training: the share of wall-clock time that metrics may take, the last evaluation not counted."""
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    """Settings of the metric "probe"."""
    n2g: N2GConfig = field(default_factory=N2GConfig)
    """Settings of the metric "n2g"."""
    explanation: ExplanationConfig = field(default_factory=ExplanationConfig)
    """Settings of the metric "explanation"."""
    ablation: AblationConfig = field(default_factory=AblationConfig)
    """Settings of the metric "ablation"."""
    shrinkage: ShrinkageConfig = field(default_factory=ShrinkageConfig)
    """Settings of the metric "shrinkage"."""

    def __post_init__(self) -> None:
        self.probe = _coerce(ProbeConfig, self.probe)
        self.n2g = _coerce(N2GConfig, self.n2g)
        self.explanation = _coerce(ExplanationConfig, self.explanation)
        self.ablation = _coerce(AblationConfig, self.ablation)
        self.shrinkage = _coerce(ShrinkageConfig, self.shrinkage)
        for name in ("tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected at least 1")
        if not 0 < self.max_overhead <= 1:
            raise ConfigError(f"max_overhead is {self.max_overhead}, expected a share of time above 0 and up to 1")
        if not 0 <= self.seed < 2**31:
            raise ConfigError(f"seed is {self.seed}, expected 0 to {2**31 - 1}")
        if not self.memory_gb > 0:
            raise ConfigError(f"memory_gb is {self.memory_gb}, expected more than 0")
        if len(set(self.names)) != len(self.names):
            raise ConfigError(f"a metric is named twice in {self.names}")

    @classmethod
    def preset(cls, name: Preset) -> "MetricsConfig":
        """A named configuration.

        Args:
            name: ``"train"`` is cheap enough to repeat during training, ``"default"`` takes minutes, ``"paper"`` has the
                sizes at which standard errors are well below the differences that the paper reports.

        Raises:
            ConfigError: If there is no such preset.
        """
        if name == "train":
            return cls(
                names=["probe", "n2g", "ablation", "shrinkage"],
                tokens=8_192,
                probe=ProbeConfig(examples=200, max_tokens=64),
                n2g=N2GConfig(latents=32, max_length=16),
                ablation=AblationConfig(sequences=32, positions=4, latents=8, baselines=4),
                shrinkage=ShrinkageConfig(tokens=2_048),
            )
        if name == "default":
            return cls()
        if name == "paper":
            return cls(
                tokens=1_048_576,
                probe=ProbeConfig(tasks=["all"]),
                ablation=AblationConfig(sequences=4_096, positions=32),
                shrinkage=ShrinkageConfig(tokens=262_144),
            )
        raise ConfigError(f"there is no preset {name!r}: expected 'train', 'default' or 'paper'")

    def to_dict(self) -> dict[str, Any]:
        """The configuration as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "MetricsConfig":
        """The inverse of ``to_dict``.

        Raises:
            ConfigError: If a key is unknown.
        """
        return _coerce(cls, data)


def _coerce(cls: type, value: Any) -> Any:
    """A nested configuration that has become a plain dict, as SAELens's own ``from_dict`` hands it over."""
    if not isinstance(value, dict):
        return value
    known = {f.name for f in fields(cls)}
    unknown = set(value) - known
    if unknown:
        raise ConfigError(f"unknown settings {sorted(unknown)} of {cls.__name__}, expected some of {sorted(known)}")
    return cls(**value)
