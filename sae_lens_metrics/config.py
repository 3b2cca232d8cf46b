"""What to evaluate and how: one dataclass per metric, and presets."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from sae_lens_metrics.errors import ConfigError

__all__ = ["ExplanationConfig", "MetricsConfig", "N2GConfig", "Preset", "ProbeConfig", "ShrinkageConfig"]

Preset = Literal["train", "default", "paper"]


@dataclass
class ProbeConfig:
    """1d probes on known features (Gao et al. 2024, section 4.2)."""

    tasks: list[str] = field(default_factory=lambda: ["all"])
    """Names of probe tasks, names of their families, or "all"."""
    examples: int = 800
    """Texts per task, half of them held out."""
    max_tokens: int = 64
    """A longer text loses its beginning: the probe reads its last token."""

    def __post_init__(self) -> None:
        self.tasks = [name for names in self.tasks for name in names.split(",")]


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
    """Examples of each kind to show for each latent."""
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
class ShrinkageConfig:
    """Activation shrinkage: what a refinement of the active latents changes (Gao et al. 2024, section 5.1)."""

    solver: Literal["exact", "pgd"] = "exact"
    """"exact" solves to the optimum, "pgd" is the paper's projected gradient descent; both minimise the same error."""
    tokens: int = 32_768
    """Tokens to refine, whole sequences from the beginning of the corpus."""


@dataclass
class MetricsConfig:
    """Everything that a result depends on besides the SAE, the model and the text."""

    names: list[str] = field(default_factory=lambda: ["probe", "n2g", "explanation", "shrinkage"], metadata={"cmd": False})
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
    max_overhead: float = 0.05
    """In training: the share of wall-clock time that metrics may take, the last evaluation not counted."""
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    """Settings of the metric "probe"."""
    n2g: N2GConfig = field(default_factory=N2GConfig)
    """Settings of the metric "n2g"."""
    explanation: ExplanationConfig = field(default_factory=ExplanationConfig)
    """Settings of the metric "explanation"."""
    shrinkage: ShrinkageConfig = field(default_factory=ShrinkageConfig)
    """Settings of the metric "shrinkage"."""

    def __post_init__(self) -> None:
        self.probe = _coerce(ProbeConfig, self.probe)
        self.n2g = _coerce(N2GConfig, self.n2g)
        self.explanation = _coerce(ExplanationConfig, self.explanation)
        self.shrinkage = _coerce(ShrinkageConfig, self.shrinkage)
        for name in ("tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected at least 1")
        if not 0 < self.max_overhead <= 1:
            raise ConfigError(f"max_overhead is {self.max_overhead}, expected a share of time above 0 and up to 1")
        if not 0 <= self.seed < 2**31:
            raise ConfigError(f"seed is {self.seed}, expected 0 to {2**31 - 1}")
        if self.probe.max_tokens < 2:
            raise ConfigError(f"probe.max_tokens is {self.probe.max_tokens}, expected at least 2: one for BOS, one to probe")
        if self.probe.examples < 20:
            raise ConfigError(f"probe.examples is {self.probe.examples}, expected at least 20 to fit and test a probe")
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
                names=["probe", "n2g", "shrinkage"],
                tokens=8_192,
                probe=ProbeConfig(examples=200),
                n2g=N2GConfig(latents=32, max_length=16),
                shrinkage=ShrinkageConfig(tokens=2_048),
            )
        if name == "default":
            return cls()
        if name == "paper":
            return cls(tokens=1_048_576, probe=ProbeConfig(examples=2_000), shrinkage=ShrinkageConfig(tokens=262_144))
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
