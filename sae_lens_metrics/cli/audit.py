"""The command ``sae-lens-metrics audit``: how noisy are the numbers, and what can they tell apart?"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from sae_lens_metrics.cli.options import MetricOptions, SettingsParser, settings_parser
from sae_lens_metrics.cli.outputs import files_read, require_other_files, writable, writable_folders
from sae_lens_metrics.cli.overrides import add_overrides
from sae_lens_metrics.cli.statuses import DONE, SOME_FAILED
from sae_lens_metrics.cli.targets import add_targets, named_targets, require_targets
from sae_lens_metrics.integrations.terminal import complain, say
from sae_lens_metrics.metrics.config import CommonConfig, MetricsConfig
from sae_lens_metrics.results.sae_names import given_names

__all__ = ["audit_options", "run_audit"]

_SEEDS = "42,123,456,789,2024"
_DESCRIPTION = (
    "Evaluates SAEs with several seeds, which move the text, what is sampled of it, and splits, and tells of each number how far it moves "
    "from seed to seed (s), whether the standard error that it is reported with is as large as that, and which difference of two SAEs "
    "one seed can show, or three. Of several SAEs also: signal to noise, whether seeds rank them alike, which pairs compare tells apart "
    "with each seed, and how much more would have to be sampled."
)
_TEACHING = """how to read it:
  s / error     what seeds move over the reported standard error, with a 95 % interval: 1 inside it means that the error fits
  one seed      a difference below this is noise, if each SAE is evaluated with one seed; paired comparisons see smaller ones
  SNR           above 2 is comfortable, 1 is a coin flip

examples:
  sae-lens-metrics audit FOLDER --model MODEL --dataset texts.jsonl --disjoint
  sae-lens-metrics audit RELEASE 'blocks.8.*' --metrics ablation --wanted-s ablation/sparsity=.0008
  sae-lens-metrics audit CHECKPOINTS --preset train --seeds 1,2,3        is the preset good enough to follow training?

Results are in OUTPUT/seed-42 and so on, as evaluate writes them. Started again, it goes on where it was."""


def run_audit(arguments: Sequence[str]) -> int:
    """Runs the command.

    Args:
        arguments: Those after the command's name.

    Returns:
        The exit status: ``DONE``, or ``SOME_FAILED`` if some evaluations failed.

    Raises:
        MetricsError: An SAE, a model, a text or a setting cannot be used, or nothing came of two seeds.
        OSError: The output cannot be written.
    """
    options, config = audit_options(arguments)
    config.require_known()
    output = Path(options.output)
    require_other_files(_written(output, options.seeds), files_read(config, options.list))
    writable(output)
    writable_folders(config)
    targets = named_targets(options)
    labels = given_names(options.names, [target.name for target in targets])

    from sae_lens_metrics.comparison.resolution import check_wanted  # after the options: --help and mistakes must not wait for torch
    from sae_lens_metrics.evaluation.auditing import audit_of, save_audit
    from sae_lens_metrics.evaluation.reseeding import reseed
    from sae_lens_metrics.views.audit_table import print_audit

    wanted, known = dict(options.wanted_s), {"overrides": targets, "overwrite": options.overwrite}
    check_wanted(wanted)
    found = reseed(list(targets), config, output, seeds=options.seeds, disjoint=options.disjoint, **known)
    audit = audit_of(found, wanted_s=wanted, names=labels)
    print_audit(audit, everything=options.all)
    save_audit(audit, output)
    say(f"written to {output / 'audit.json'} and audit.csv; the results of each seed are in {output}/seed-*")
    if options.report:
        from sae_lens_metrics.views.page import offer_page

        files = next(each for each in found.files(labels).values() if each)
        say(offer_page(files, output / "audit.html", audit=audit, title="SAEs audited"))
    if audit.failed:
        complain(f"sae-lens-metrics: {len(audit.failed)} evaluations failed, start again to try them again")
    return SOME_FAILED if audit.failed else DONE


def audit_options(arguments: Sequence[str]) -> tuple[argparse.Namespace, MetricsConfig]:
    """Reads the flags.

    Args:
        arguments: Those after the command's name.

    Returns:
        What was asked for, and the settings of the metrics.

    Raises:
        SystemExit: After ``--help``, or a mistake.
        ConfigError: A setting is out of range.
    """
    parser = settings_parser("audit", _DESCRIPTION, usage="RELEASE SAE_ID | FOLDER ... | --list FILE  [flags]")
    parser.description = f"{parser.description}\n\n{_TEACHING}"
    add_targets(parser)
    _add_own(parser)
    add_overrides(parser)
    metrics = MetricOptions(parser, "--preset", "default", arguments, short=True)
    options = parser.read(metrics.rest)
    require_targets(parser, options)
    config = metrics.config(options)
    if config.seed != CommonConfig().seed:
        parser.error("an audit takes several seeds: give --seeds, not --seed")
    return options, config


def _add_own(parser: SettingsParser) -> None:
    parser.add_argument("--output", default="sae-audit", metavar="DIR", help="folder for the audit and all results (default: %(default)s)")
    seeds = "seeds, separated by commas (default: %(default)s)"
    parser.add_argument("--seeds", metavar="SEED,SEED", type=_seeds, default=_SEEDS, help=seeds)
    disjoint = "draw each seed's text from rows of the data set of its own: on a small data set texts overlap otherwise, and s is too small"
    parser.add_argument("--disjoint", action="store_true", help=disjoint)
    wanted = "the s that a number should have, such as ablation/sparsity=.0008: tells how much more to sample; may be repeated "
    wanted += "(by default the s that lets one seed tell the two nearest SAEs apart)"
    parser.add_argument("--wanted-s", "--wanted_s", metavar="NUMBER=S", type=_wanted, action="append", default=[], help=wanted)
    page = "write the audit as a page to read, too, beside the results of the first seed"
    parser.add_argument("--report", action=argparse.BooleanOptionalAction, default=True, help=page)
    parser.add_argument("--all", action="store_true", help="show baselines and numbers that tables leave out, too")


def _written(output: Path, seeds: Sequence[int]) -> list[Path]:
    """What is written besides the result files, whose names no other file has."""
    each = [output / f"seed-{seed}" / name for seed in seeds for name in ("summary.csv", "errors.json")]
    return [*(output / f"audit.{form}" for form in ("json", "csv", "html")), *dict.fromkeys(each)]


def _seeds(text: str) -> list[int]:
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of seeds, such as {_SEEDS}") from None


def _wanted(text: str) -> tuple[str, float]:
    number, _, s = text.partition("=")
    try:
        return number, float(s)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no NUMBER=S, such as ablation/sparsity=.0008") from None
