"""The command ``sae-lens-metrics train``: SAELens's training command, with metrics."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NoReturn

from simple_parsing import NestedMode

from sae_lens_metrics.cli.mistakes import did_you_mean
from sae_lens_metrics.cli.options import MetricOptions, SettingsParser, settings_parser
from sae_lens_metrics.errors import ConfigError, MetricsError
from sae_lens_metrics.integrations.unwritten import why_unwritten

__all__ = ["run_to_the_end", "run_train"]

_DESCRIPTION = (
    "Trains an SAE as SAELens's own command does, with metrics. Flags that begin with --metrics are listed here; every other flag "
    "is SAELens's: sae-lens-metrics train --help-saelens lists those."
)
_THEIR_HELP = "--help-saelens"
_REFUSALS = (AssertionError, AttributeError, ImportError, LookupError, RuntimeError, TypeError, ValueError)
"""What SAELens, TransformerLens and datasets raise about what they cannot load; OSError says all by itself."""
_LONGEST = 300
"""Characters of a reason; some list all models that there are."""


def run_train(arguments: Sequence[str]) -> None:
    """Runs the command.

    Args:
        arguments: Those after the command's name.

    Raises:
        MetricsError: A setting cannot be used.
        SystemExit: After a list of flags, or a mistake.
    """
    parser = settings_parser("train", _DESCRIPTION, usage="[flags of metrics] [flags of SAELens]", nested=NestedMode.DEFAULT)
    parser.others, parser.settings_dest = "--metrics", "metrics"
    parser.add_argument(_THEIR_HELP, action="store_true", help="list SAELens's own flags (loads SAELens, which takes a while)")
    metrics = MetricOptions(parser, "--metrics.preset", "train", arguments)
    options, rest = parser.read_own(metrics.rest or ["--help"])
    config = metrics.config(options)
    config.require_known()

    from sae_lens import LanguageModelSAERunnerConfig

    from sae_lens_metrics.integrations.saelens_command import RefusedFlags, runner_config
    from sae_lens_metrics.training.attach import MetricsRunnerConfig, MetricsTrainingRunner
    from sae_lens_metrics.training.start import require_start

    try:
        cfg = runner_config(["--help"] if options.help_saelens else rest)
    except RefusedFlags as refused:
        _answer(parser, rest, refused.reason, refused.flags)
    checkpoint_path, verbose = cfg.checkpoint_path, cfg.verbose
    values = {f.name: getattr(cfg, f.name) for f in dataclasses.fields(LanguageModelSAERunnerConfig)}
    # __post_init__ has run once: it would print its summary and append an id to the checkpoint path a second time
    with_metrics = MetricsRunnerConfig(**{**values, "verbose": False}, metrics=config)
    with_metrics.checkpoint_path, with_metrics.verbose = checkpoint_path, verbose
    try:
        runner = MetricsTrainingRunner(with_metrics)
        require_start(runner)
    except MetricsError:
        raise
    except _REFUSALS as error:
        raise ConfigError(f"SAELens cannot train this: {_briefly(error)}") from error
    run_to_the_end(runner)


def run_to_the_end(runner: Any) -> None:
    """Trains.

    Args:
        runner: SAELens's runner.

    Raises:
        ConfigError: W&B, to which SAELens logs unless it is told otherwise, refuses the run.
        OSError: What is trained cannot be saved; it says where, which SAELens, PyTorch and safetensors do not.
    """
    try:
        runner.run()
    except Exception as error:
        if type(error).__module__.partition(".")[0] == "wandb":
            raise ConfigError(
                f"W&B does not take this run ({_briefly(error)}): log in (wandb login), set WANDB_MODE=offline, or --log_to_wandb false"
            ) from error
        if (why := why_unwritten(error)) is None or getattr(error, "filename", None) is not None:
            raise
        raise OSError(_unsaved(runner.cfg, why)) from error


def _unsaved(cfg: Any, why: str) -> str:
    """What SAELens could not write, and how to go on; it does not say in which of its files."""
    folders = " or ".join(repr(str(each)) for each in (cfg.checkpoint_path, cfg.output_path) if each is not None)
    return (
        f"SAELens cannot save what it trains in {folders or 'a temporary folder'} ({why}): make room, and go on with "
        "--resume_from_checkpoint and the last checkpoint that is whole"
    )


def _briefly(error: Exception) -> str:
    """What another package says, on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    said = text if len(text) <= _LONGEST else f"{text[:_LONGEST].rsplit(' ', 1)[0]} ..."
    return f"{said} ({type(error).__name__})" if isinstance(error, LookupError | AttributeError) else said


def _answer(parser: SettingsParser, given: Sequence[str], reason: str, theirs: list[str]) -> NoReturn:
    """Says which flag is nobody's; or, where it is a value that is wrong, what SAELens says."""
    unknown = next((name for each in given if (name := each.split("=", 1)[0]).startswith("--") and theirs and name not in theirs), None)
    if unknown is None:
        parser.error(reason)
    parser.error(f"neither metrics nor SAELens have a flag {unknown}{did_you_mean(unknown, [*theirs, *parser.flags()])}")
