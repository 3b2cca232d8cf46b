"""The command ``sae-lens-metrics``: its options come from the configuration's dataclasses."""

import argparse
import dataclasses
import logging
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from simple_parsing import ArgumentGenerationMode, ArgumentParser, DashVariant, NestedMode

from sae_lens_metrics.errors import ConfigError, MetricsError
from sae_lens_metrics.integrations.interrupts import interrupts
from sae_lens_metrics.metrics.config import MetricsConfig, options_dataclass
from sae_lens_metrics.metrics.n2g.spec import N2GConfig
from sae_lens_metrics.metrics.probe.spec import ProbeConfig
from sae_lens_metrics.results.sae_names import ending, without_shared_folders

if TYPE_CHECKING:
    from sae_lens_metrics.evaluation.order import Overrides
    from sae_lens_metrics.loading.targets import Target

__all__ = ["main"]

_FAILURE, _SOME_FAILED, _INTERRUPTED = 2, 3, 130
_Settings = TypeVar("_Settings", N2GConfig, ProbeConfig)

_DESCRIPTION = """SAE quality metrics of "Scaling and evaluating sparse autoencoders" (Gao et al. 2024) for SAELens.

  sae-lens-metrics demo                              see it all on a tiny model, without a network
  sae-lens-metrics evaluate gpt2-small-res-jb blocks.8.hook_resid_pre --dataset NeelNanda/pile-10k
  sae-lens-metrics evaluate gpt2-small-res-jb '.*'      all SAEs of a release; started again, it goes on where it was
  sae-lens-metrics evaluate FOLDER --model MODEL_FOLDER --dataset texts.jsonl
  sae-lens-metrics compare A.json B.json             which numbers of two results differ by more than noise
  sae-lens-metrics train --metrics.preset train <flags of SAELens's training command>
  sae-lens-metrics report A.json B.json              the same as a page to read: figures, latents, examples
  sae-lens-metrics dashboard --entity E --project P  a W&B workspace for runs with metrics
  sae-lens-metrics tasks                             the tasks that probes can be given

Each command explains itself: sae-lens-metrics COMMAND --help."""


def main(args: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        args: Arguments after the program's name; default those of the process.

    Returns:
        The exit status: 0, 2 for bad input, 3 if some of several SAEs failed, 130 if interrupted.
    """
    commands: dict[str, Callable[[list[str]], int | None]] = {"evaluate": _evaluate, "train": _train, "demo": _demo, **_elsewhere()}
    parser = argparse.ArgumentParser(
        prog="sae-lens-metrics", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("command", choices=commands, metavar="COMMAND", help=", ".join(commands))
    arguments = list(sys.argv[1:] if args is None else args)
    chosen = parser.parse_args(arguments[:1])
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("sae_lens_metrics").setLevel(logging.INFO)
    try:
        return commands[chosen.command](arguments[1:]) or 0
    except (MetricsError, OSError) as error:
        print(f"sae-lens-metrics: error: {' '.join(str(error).split())}", file=sys.stderr)  # reasons of other packages have many lines
        return _FAILURE
    except interrupts():
        print("sae-lens-metrics: interrupted", file=sys.stderr)
        return _INTERRUPTED


# --- evaluate ----------------------------------------------------------------------------------------------------------------


def _evaluate(arguments: list[str]) -> int:
    options, config = _evaluate_options(arguments)
    output = _writable(Path(options.output))
    if config.n2g.folder is not None:
        _writable(Path(config.n2g.folder))

    from sae_lens_metrics.evaluation.order import Overrides  # after the options: --help and mistakes must not wait for torch
    from sae_lens_metrics.loading.targets import find_targets, read_list

    _check_names(config)
    targets = [*(find_targets(options.targets) if options.targets else []), *(read_list(options.list) if options.list else [])]
    targets = list(dict.fromkeys(targets))
    if options.compare and len(targets) < 2:
        raise ConfigError(f"--compare takes two SAEs at least, but {targets[0].name} is the only one: name another, or leave it out")
    overrides = Overrides(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Overrides)})
    if len(targets) == 1:
        return _evaluate_one(targets[0], config, output, overrides, options)
    return _evaluate_many(targets, config, output, overrides, options)


def _evaluate_one(target: "Target", config: MetricsConfig, output: Path, overrides: "Overrides", options: argparse.Namespace) -> int:
    from sae_lens_metrics.evaluation.sweep import evaluate_target
    from sae_lens_metrics.views.terminal import print_reports
    from sae_lens_metrics.views.wandb.log import log_report, wandb_run

    outcome = evaluate_target(target, config, output, overrides=overrides)
    print_reports({ending(target.name): outcome.report})
    print(f"written to {outcome.path}")
    _save_as(options.format, {target: outcome.path}, output)
    with wandb_run(options.wandb_project, name=target.name, config=outcome.report.provenance) as run:
        if run is not None:
            log_report(run, outcome.report, outcome.path)
    if options.report:
        _offer_page({target.name: outcome.path}, outcome.path.with_suffix(".html"))
    return 0


def _evaluate_many(
    targets: "list[Target]", config: MetricsConfig, output: Path, overrides: "Overrides", options: argparse.Namespace
) -> int:
    from sae_lens_metrics.evaluation.sweep import SUMMARY, sweep
    from sae_lens_metrics.views.terminal import print_sweep

    found = sweep(targets, config, output, overrides=overrides, overwrite=options.overwrite, wandb_project=options.wandb_project)
    print_sweep(found.names, found.reports, found.errors)
    print(f"{len(found.files)} results and {SUMMARY} are in {output}")
    files = {target: found.files[target.name] for target in targets if target.name in found.files}
    _save_as(options.format, files, output)
    if found.errors:
        failed = ", ".join(name for name in found.names if name in found.errors)
        print(f"sae-lens-metrics: {len(found.errors)} of {len(targets)} failed, start again to try them again: {failed}", file=sys.stderr)
    names = without_shared_folders(list(found.files))
    page = {names[name]: path for name, path in found.files.items()} if options.report else {}
    if options.compare and len(files) > 1:
        from sae_lens_metrics.cli.compare import run_compare

        run_compare([*map(str, files.values()), *(["--report", str(output / "report.html")] if page else ["--no-report"])])
    elif page:
        _offer_page(page, output / "report.html")
    return _SOME_FAILED if found.errors else 0


def _offer_page(files: "dict[str, Path]", path: Path) -> None:
    from sae_lens_metrics.views.page import offer_page

    print(offer_page(files, path))


def _save_as(form: str, files: "dict[Target, Path]", output: Path) -> None:
    """Writes results in another form, beside those that this package reads."""
    from sae_lens_metrics.results import Report
    from sae_lens_metrics.views.saebench import save_saebench

    if form == "saebench" and files:
        paths = [save_saebench(Report.load(path), output, target.release, target.sae_id) for target, path in files.items()]
        print(f"in SAEBench's form: {paths[0] if len(paths) == 1 else paths[0].parent}")


def _evaluate_options(arguments: list[str]) -> tuple[argparse.Namespace, MetricsConfig]:
    parser = _parser(
        "evaluate",
        "Evaluates SAEs: from the hub (RELEASE SAE_ID, as in SAE.from_pretrained; either may be a regular expression, as in SAELens's "
        "own evaluations), or in folders. Prints a table and writes one JSON file for each, which sae_lens_metrics.Report.load reads. "
        "Of several SAEs, those that were evaluated already are not evaluated again, and summary.csv has them all.",
    )
    parser.add_argument(
        "targets",
        metavar="TARGET",
        nargs="*",
        help="RELEASE (of SAELens's directory, or a hub repository) and SAE_ID, or folders with SAEs",
    )
    parser.add_argument("--list", metavar="FILE", help="more targets, one a line: RELEASE SAE_ID, or a folder; # begins a comment")
    parser.add_argument(
        "--compare", action="store_true", help="say which numbers of several SAEs differ from the first one's, as compare does"
    )
    parser.add_argument("--overwrite", action="store_true", help="evaluate again what was evaluated already")
    parser.add_argument("--model", metavar="MODEL", help="model folder or name, if not the one in the SAE's metadata")
    parser.add_argument("--output", default="sae-metrics", metavar="DIR", help="folder for the result file (default: %(default)s)")
    parser.add_argument(
        "--format", choices=("json", "saebench"), default="json", help="saebench: write files that SAEBench's tools load, too"
    )
    parser.add_argument(
        "--report", action=argparse.BooleanOptionalAction, default=True, help="write the results as a page to read, too (default)"
    )
    parser.add_argument(
        "--wandb-project", "--wandb_project", metavar="PROJECT", help="log to this W&B project too (WANDB_MODE=offline keeps it on disk)"
    )
    parser.add_argument("--device", metavar="DEVICE", help="default: a GPU if there is one")
    parser.add_argument("--hook-name", "--hook_name", metavar="HOOK", help="hook of the SAE, if not the one in its metadata")
    parser.add_argument("--output-hook-name", "--output_hook_name", metavar="HOOK", help="likewise, of a transcoder's output")
    parser.add_argument(
        "--context-size", "--context_size", metavar="TOKENS", type=int, help="tokens a sequence, if not as in the SAE's metadata"
    )
    parser.add_argument("--prepend-bos", "--prepend_bos", action=argparse.BooleanOptionalAction, help="if not as in the SAE's metadata")
    parser.add_argument(
        "--special-tokens",
        "--special_tokens",
        metavar="ID,ID",
        type=_token_ids,
        help="tokens that do not count besides the tokenizer's special ones, if not as in the SAE's metadata",
    )
    parser.add_argument("--latents", metavar="N", type=int, help="explain a random sample of N latents, not all (--n2g.latents)")
    parser.add_argument("--tasks", metavar="NAMES", help="probe tasks and families, separated by commas (--probe.tasks)")
    parser.add_argument(
        "--task-file", "--task_file", metavar="PATH", action="append", help="a probe task of your own, can be repeated (--probe.task_files)"
    )
    parser.add_argument("--strict", action="store_true", default=None, help="a task that cannot be loaded is an error (--probe.strict)")
    preset, names, arguments = _preset(parser, "--preset", "default", arguments)
    parser.add_arguments(options_dataclass(), dest="config", default=preset.options())
    options = parser.parse_args(arguments)
    if not (options.targets or options.list):
        parser.error("nothing to evaluate: give RELEASE SAE_ID, folders, or --list FILE")
    config = MetricsConfig(**vars(options.config))
    tasks = None if options.tasks is None else [options.tasks]
    return options, dataclasses.replace(
        _with_names(config, names),
        n2g=_with_given(config.n2g, latents=options.latents),
        probe=_with_given(config.probe, tasks=tasks, task_files=options.task_file, strict=options.strict),
    )


def _with_given(settings: _Settings, **values: Any) -> _Settings:
    """The settings with those values that were given on the command line under a shorter name."""
    return dataclasses.replace(settings, **{name: value for name, value in values.items() if value is not None})


# --- train -------------------------------------------------------------------------------------------------------------------


def _train(arguments: list[str]) -> None:
    parser = _parser(
        "train",
        "Trains an SAE as SAELens's own command does, with metrics. Flags that begin with --metrics are listed here; every other flag "
        "is SAELens's (sae-lens-metrics train --help lists those below).",
        nested=NestedMode.DEFAULT,
    )
    preset, names, arguments = _preset(parser, "--metrics.preset", "train", arguments)
    parser.add_arguments(options_dataclass(), dest="metrics", default=preset.options())
    asks_for_help = not arguments or any(argument in ("-h", "--help") for argument in arguments)
    if asks_for_help:
        parser.print_help()
        print("\nSAELens's own flags:\n")
        arguments = ["--help"]
    ours, rest = (None, arguments) if asks_for_help else parser.parse_known_args(arguments)

    from sae_lens.config import LanguageModelSAERunnerConfig
    from sae_lens.llm_sae_training_runner import _parse_cfg_args

    from sae_lens_metrics.training.attach import MetricsRunnerConfig, MetricsTrainingRunner

    metrics = _with_names(MetricsConfig(**vars(ours.metrics)) if ours else preset, names)
    _check_names(metrics)
    cfg = _parse_cfg_args(rest)
    checkpoint_path, verbose = cfg.checkpoint_path, cfg.verbose
    values = {f.name: getattr(cfg, f.name) for f in dataclasses.fields(LanguageModelSAERunnerConfig)}
    # __post_init__ has run once: it would print its summary and append an id to the checkpoint path a second time
    with_metrics = MetricsRunnerConfig(**{**values, "verbose": False}, metrics=metrics)
    with_metrics.checkpoint_path, with_metrics.verbose = checkpoint_path, verbose
    MetricsTrainingRunner(with_metrics).run()


# --- demo --------------------------------------------------------------------------------------------------------------------


def _demo(arguments: list[str]) -> None:
    from sae_lens_metrics.demo.options import DemoOptions

    parser = _parser(
        "demo",
        "Trains two SAEs, one with an L1 penalty and one TopK, on a tiny language model that comes with the package, evaluates both, and "
        "prints their metrics side by side. Needs no network; takes about four and a half minutes on two cores.",
    )
    parser.add_arguments(DemoOptions, dest="options")
    options = parser.parse_args(arguments).options
    _writable(Path(options.output))
    _check_names(MetricsConfig(probe=ProbeConfig(tasks=[options.tasks])))

    from sae_lens_metrics.demo.run import run_demo

    run_demo(options)


# --- commands in files of their own ------------------------------------------------------------------------------------------

_ELSEWHERE = {
    "compare": ("compare", "run_compare"),
    "report": ("report", "run_report"),
    "dashboard": ("dashboard", "run_dashboard"),
    "tasks": ("tasks", "list_tasks"),
}


def _elsewhere() -> dict[str, Callable[[list[str]], None]]:
    """Commands that are imported when they are run, as --help of another one must not wait for what they need."""

    def command(module: str, function: str) -> Callable[[list[str]], None]:
        return lambda arguments: getattr(import_module(f"sae_lens_metrics.cli.{module}"), function)(arguments)

    return {name: command(*home) for name, home in _ELSEWHERE.items()}


# --- shared ------------------------------------------------------------------------------------------------------------------


def _parser(command: str, description: str, nested: NestedMode = NestedMode.WITHOUT_ROOT) -> ArgumentParser:
    return ArgumentParser(
        prog=f"sae-lens-metrics {command}",
        description=description,
        allow_abbrev=False,
        argument_generation_mode=ArgumentGenerationMode.NESTED,
        nested_mode=nested,
        add_option_string_dash_variants=DashVariant.UNDERSCORE_AND_DASH,
    )


def _preset(parser: ArgumentParser, flag: str, default: str, arguments: list[str]) -> tuple[MetricsConfig, list[str] | None, list[str]]:
    """Reads the preset and the names of the metrics first: the preset gives the other options' defaults."""
    for target in (parser, first := argparse.ArgumentParser(prog=parser.prog, add_help=False, allow_abbrev=False)):
        target.add_argument(
            flag,
            dest="preset",
            choices=("train", "default", "paper"),
            default=default,
            help="how much to compute: seconds, minutes or hours (default: %(default)s)",
        )
        target.add_argument("--metrics", dest="metric_names", metavar="NAME,NAME", help="which metrics, such as probe,shrinkage")
    known, rest = first.parse_known_args(arguments)
    names = known.metric_names.split(",") if known.metric_names else None
    return MetricsConfig.preset(known.preset), names, rest


def _with_names(config: MetricsConfig, names: list[str] | None) -> MetricsConfig:
    return config if names is None else dataclasses.replace(config, names=names)


def _check_names(config: MetricsConfig) -> None:
    """Finds a misspelt name before a download or a training run does.

    Raises:
        ConfigError: If there is no such metric or probe task.
    """
    config.require_known()


def _writable(folder: Path) -> Path:
    """Makes sure of the output folder before any work is done.

    Raises:
        OSError: If it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise OSError(f"cannot write to {str(folder)!r} ({error.strerror}): give another folder with --output") from error


def _token_ids(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(token) for token in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of token ids, such as 0,50256") from None
