"""The command ``sae-lens-metrics evaluate``: metrics of pretrained SAEs."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sae_lens_metrics.cli.mistakes import did_you_mean
from sae_lens_metrics.cli.options import MetricOptions, SettingsParser, settings_parser
from sae_lens_metrics.cli.outputs import files_read, require_other_files, writable, writable_folders
from sae_lens_metrics.cli.overrides import add_overrides
from sae_lens_metrics.cli.statuses import DONE, SOME_FAILED
from sae_lens_metrics.cli.targets import add_targets, named_targets, require_targets
from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.evaluation.clusters import RayCluster
from sae_lens_metrics.evaluation.shards import Shard
from sae_lens_metrics.integrations.terminal import complain, say
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.metrics.controls import CONTROLS
from sae_lens_metrics.results.sae_names import given_names

if TYPE_CHECKING:
    from sae_lens_metrics.evaluation.order import Overrides
    from sae_lens_metrics.loading.targets import Target
    from sae_lens_metrics.ranks import Ranks

__all__ = ["evaluate_options", "run_evaluate"]

_WRITTEN = ("summary.csv", "errors.json", "report.html")
"""What is written besides the result files, whose names no other file has."""
_ROWS = 500
"""SAEs up to which a table of them is printed: nobody reads more there, and all their reports would have to be in memory."""
_DESCRIPTION = (
    "Evaluates SAEs: from the hub (RELEASE SAE_ID, as in SAE.from_pretrained; either may be a regular expression, as in SAELens's "
    "own evaluations), or in folders. Prints a table and writes one JSON file for each, which sae_lens_metrics.Report.load reads. "
    "Of several SAEs, those that were evaluated already are not evaluated again, and summary.csv has them all."
)

_CONTROLS = (
    "evaluate SAEs that are bad on purpose, too, and say on which metrics an SAE is no better: "
    f"some of {', '.join(CONTROLS)} (default with the flag: all); each takes about as long as the SAE's own metrics"
)

_SHARD = (
    "evaluate this part of the SAEs only, such as 1/8: together all parts are all SAEs, and those of one model and hook stay together; "
    "auto: which part follows from the task of a Slurm job array. Without, any number of the same commands share the work in a folder"
)

_CLUSTER = (
    "evaluate many SAEs on the Ray cluster at the address in RAY_ADDRESS, or on all GPUs or CPU cores of this machine; takes the extra "
    "sae-lens-metrics[cluster]"
)


def run_evaluate(arguments: Sequence[str], ranks: "Ranks | None" = None) -> int:
    """Runs the command.

    Args:
        arguments: Those after the command's name.
        ranks: The processes that evaluate each SAE together, of which this is the first; default this one alone.

    Returns:
        The exit status: ``DONE``, or ``SOME_FAILED`` where some SAEs or metrics failed, or a result had to be written elsewhere.

    Raises:
        MetricsError: An SAE, a model, a text or a setting cannot be used.
        OSError: The output cannot be written.
    """
    options, config = evaluate_options(arguments)
    config.require_known()
    if ranks is not None and options.cluster is not None:
        raise ConfigError("torchrun's processes evaluate one SAE together, and a cluster's evaluate one each: give one of the two")
    output = Path(options.output)
    require_other_files([output / name for name in _WRITTEN], files_read(config, options.list))
    writable(output)
    writable_folders(config)
    overrides = named_targets(options)
    targets = list(overrides)
    if options.compare and len(targets) < 2:
        raise ConfigError(f"--compare takes two SAEs at least, but {targets[0].name} is the only one: name another, or leave it out")
    if len(targets) == 1 and options.shard is None and options.cluster is None:
        return _evaluate_one(targets[0], config, output, overrides[targets[0]], options, ranks)
    return _evaluate_many(overrides, config, output, options, ranks)


def evaluate_options(arguments: Sequence[str]) -> tuple[argparse.Namespace, MetricsConfig]:
    """Reads the flags.

    Args:
        arguments: Those after the command's name.

    Returns:
        What was asked for, and the settings of the metrics.

    Raises:
        SystemExit: After ``--help``, or a mistake.
        ConfigError: A setting is out of range.
    """
    parser = settings_parser("evaluate", _DESCRIPTION, usage="RELEASE SAE_ID | FOLDER ... | --list FILE  [flags]")
    add_targets(parser)
    _add_output(parser)
    add_overrides(parser)
    parser.add_argument("--controls", nargs="?", const=",".join(CONTROLS), metavar="NAME,NAME", help=_CONTROLS)
    metrics = MetricOptions(parser, "--preset", "default", arguments, short=True)
    options = parser.read(metrics.rest)
    controls = _controls(parser, options.controls)  # first of all, as the flag may have taken the only target for a name
    require_targets(parser, options)
    options.shard = None if options.shard is None else Shard.parse(options.shard)
    options.cluster = _cluster(parser, options)
    return options, replace(metrics.config(options), controls=controls)


def _cluster(parser: SettingsParser, options: argparse.Namespace) -> RayCluster | None:
    if options.cluster is not None:
        return RayCluster(options.workers, options.gpus_per_worker)
    for flag, given in {"--workers": options.workers, "--gpus-per-worker": options.gpus_per_worker}.items():
        if given is not None:
            parser.error(f"{flag} is about the workers of a cluster: give --cluster ray, too")
    return None


def _controls(parser: SettingsParser, given: str | None) -> list[str]:
    names = given.split(",") if given else []
    for name in names:
        if name not in CONTROLS:
            near = did_you_mean(name, CONTROLS) or f": expected some of {', '.join(CONTROLS)}; targets stand before --controls"
            parser.error(f"there is no control {name!r}{near}")
    return names


def _add_output(parser: SettingsParser) -> None:
    parser.add_argument("--shard", metavar="I/N", help=_SHARD)
    parser.add_argument("--cluster", choices=("ray",), help=_CLUSTER)
    parser.add_argument("--workers", type=int, metavar="N", help="workers on the cluster, at most (default: as many as there is room for)")
    parser.add_argument(
        "--gpus-per-worker", type=float, metavar="N", help="GPUs of each of them (default: 1 if the cluster has any; else a CPU core each)"
    )
    parser.add_argument(
        "--compare", action="store_true", help="say which numbers of several SAEs differ from the first one's, as compare does"
    )
    parser.add_argument("--output", default="sae-metrics", metavar="DIR", help="folder for the result file (default: %(default)s)")
    parser.add_argument(
        "--format", choices=("json", "saebench"), default="json", help="saebench: write files that SAEBench's tools load, too"
    )
    parser.add_argument("--report", action=argparse.BooleanOptionalAction, default=True, help="write the results as a page to read, too")
    parser.add_argument(
        "--wandb-project", "--wandb_project", metavar="PROJECT", help="log to this W&B project too (WANDB_MODE=offline keeps it on disk)"
    )


def _evaluate_one(
    target: "Target", config: MetricsConfig, output: Path, overrides: "Overrides", options: argparse.Namespace, ranks: "Ranks | None"
) -> int:
    from sae_lens_metrics.evaluation.one_sae import evaluate_target
    from sae_lens_metrics.evaluation.sweep_in_wandb import log_or_warn
    from sae_lens_metrics.ranks import ALONE
    from sae_lens_metrics.views.terminal import print_reports

    label = given_names(options.names, [target.name])[target.name]  # a mistake is found before any work
    outcome = evaluate_target(target, config, output, overrides=overrides, ranks=ranks or ALONE)
    print_reports({label: outcome.report})
    log_or_warn(options.wandb_project, target.name, outcome.report, outcome.path)
    if outcome.path is not None:
        say(f"written to {outcome.path}")
        _save_as(options.format, {target: outcome.path}, output)
        if options.report:
            _offer_page({target.name: outcome.path}, outcome.path.with_suffix(".html"))
    if outcome.problems:
        complain(f"sae-lens-metrics: not all is as asked for: {'; '.join(outcome.problems)}")
    return SOME_FAILED if outcome.problems else DONE


def _evaluate_many(
    overrides: "dict[Target, Overrides]", config: MetricsConfig, output: Path, options: argparse.Namespace, ranks: "Ranks | None"
) -> int:
    from sae_lens_metrics.evaluation.sweep import sweep
    from sae_lens_metrics.evaluation.sweep_summary import SUMMARY
    from sae_lens_metrics.ranks import ALONE
    from sae_lens_metrics.views.terminal import print_sweep

    targets = list(overrides)
    labels = given_names(options.names, [target.name for target in targets])  # a mistake is found before hours of work
    known = {"overrides": overrides, "overwrite": options.overwrite, "wandb_project": options.wandb_project}
    found = sweep(targets, config, output, **known, shard=options.shard, cluster=options.cluster, ranks=ranks or ALONE)
    if 0 < len(found.names) <= _ROWS:
        print_sweep({name: labels[name] for name in found.names}, found.reports, found.errors)
    say(f"{len(found.files)} results and {SUMMARY} are in {output}")
    files = {target: found.files[target.name] for target in targets if target.name in found.files}
    _save_as(options.format, files, output)
    if found.errors:
        failed = ", ".join(name for name in found.names if name in found.errors)
        complain(f"sae-lens-metrics: {len(found.errors)} of {len(found.names)} failed, start again to try them again: {failed}")
    page = {labels[name]: path for name, path in {**found.files, **found.folder.files()}.items()} if options.report else {}
    if options.compare and len(files) > 1:
        from sae_lens_metrics.cli.compare import run_compare

        names = ["--names", ",".join(labels[target.name] for target in files)] if options.names else []
        run_compare([*map(str, files.values()), *names, *(["--report", str(output / "report.html")] if page else ["--no-report"])])
    elif page:
        with found.folder.alone("page"):
            _offer_page(page, output / "report.html")
    return SOME_FAILED if found.errors else DONE


def _offer_page(files: "dict[str, Path]", path: Path) -> None:
    from sae_lens_metrics.views.page import offer_page

    say(offer_page(files, path))


def _save_as(form: str, files: "dict[Target, Path]", output: Path) -> None:
    """Writes results in another form, beside those that this package reads."""
    from sae_lens_metrics.results import Report
    from sae_lens_metrics.views.saebench import save_saebench

    if form == "saebench" and files:
        paths = [save_saebench(Report.load(path), output, target.release, target.sae_id) for target, path in files.items()]
        say(f"in SAEBench's form: {paths[0] if len(paths) == 1 else paths[0].parent}")
