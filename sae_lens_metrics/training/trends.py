"""The findings of Gao et al. 2024 on a grid of SAEs that are trained for it."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from sae_lens_metrics.comparison.trends.contrasts import Evaluated
from sae_lens_metrics.comparison.trends.findings import Findings, find
from sae_lens_metrics.comparison.trends.grid import Grid, Trained
from sae_lens_metrics.comparison.trends.means import Means
from sae_lens_metrics.errors import ConfigError, ResultError, SubjectError
from sae_lens_metrics.evaluation.order import Overrides
from sae_lens_metrics.evaluation.sweep import sweep
from sae_lens_metrics.loading.models import ModelChoice, default_device, load_spec
from sae_lens_metrics.loading.targets import Target
from sae_lens_metrics.metrics.ablation.spec import AblationConfig
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.metrics.n2g.spec import N2GConfig
from sae_lens_metrics.metrics.probe.spec import ProbeConfig
from sae_lens_metrics.metrics.registry import metric_spec
from sae_lens_metrics.metrics.shrinkage.spec import ShrinkageConfig
from sae_lens_metrics.results import Report, write_atomically
from sae_lens_metrics.text.held_out_rows import keep_rows, other_rows
from sae_lens_metrics.training.grid import GridTraining, train_grid

__all__ = ["Trends", "TrendsOrder", "reproduce_trends"]

_METRICS = ["probe", "n2g", "explanation", "ablation", "shrinkage"]
_MANY_DEAD = 0.5
"""Share of latents that never fire from which on it is said."""
_LEAST_TRAINING = 8_192
_HELD_OUT = "held_out_text"


@dataclass(frozen=True)
class TrendsOrder:
    """What is trained, and on what."""

    model: str
    """Name, hub repository or folder of the model, as a HookedTransformer."""
    dataset: str | None = None
    """Text to train on and, other rows of it, to evaluate on; ``None`` for the Python standard library."""
    hook: str | None = None
    """Where SAEs sit; default the residual stream after the layer at two thirds, as layer 8 of GPT-2 small."""
    training_tokens: int = 640_000
    """Tokens that each SAE is trained on."""
    tokens: int = 16_384
    """Tokens to evaluate on."""
    quick: bool = False
    """Whether the grid is a smaller one."""
    seeds: int = 1
    """Training seeds of each kind of SAE."""
    device: str | None = None
    """Default a GPU if there is one."""
    called: str = ""
    """What to call the model; default its name, or that of its folder."""

    @property
    def name(self) -> str:
        """What the model is called in results, which others may read: no path."""
        return self.called or (Path(self.model).name if Path(self.model).is_dir() else self.model)

    @property
    def text(self) -> str:
        """What the text is called there."""
        if self.dataset is None:
            return "the Python standard library"
        return Path(self.dataset).name if Path(self.dataset).exists() else self.dataset


@dataclass(frozen=True)
class Trends:
    """What came of it."""

    findings: Findings
    evaluated: Evaluated
    """The SAEs with their results."""
    files: Mapping[str, Path]
    """The result files, by the SAEs' titles."""


def reproduce_trends(order: TrendsOrder, output: Path) -> Trends:
    """Trains a grid of SAEs through SAELens with the flag on, evaluates them, and tells which of the paper's findings they show.

    Interrupted at any moment and started again, it goes on: SAEs of a training seed that are trained stay, as do results.

    Args:
        order: What to train, and on what.
        output: Folder for the SAEs, the text that is kept from them, and the results.

    Raises:
        ConfigError: If the folder holds another grid, or the grid cannot be.
        CorpusError: If the data set cannot be loaded, or is too small.
        SubjectError: If the model cannot be loaded, or has no such hook.
    """
    config = _config(order, output)
    if order.training_tokens < _LEAST_TRAINING:
        raise ConfigError(f"training_tokens is {order.training_tokens:,}, expected at least {_LEAST_TRAINING:,}: some steps of training")
    device = default_device(order.device)
    model = load_spec(ModelChoice(order.model).spec({}), device)
    d_in, hook = _site(model, order)
    grid = Grid.of_size(d_in, quick=order.quick, seeds=order.seeds)
    _claim(output, order, grid, hook)
    keep_rows(order.dataset, output / _HELD_OUT, order.tokens)
    text = cache(partial(other_rows, order.dataset, output / _HELD_OUT, order.training_tokens))
    training = GridTraining(model, order.name, hook, d_in, text, order.text, order.training_tokens, device)
    wanted = grid.trained()
    folders = train_grid(wanted, training, output / "saes")
    del model, training  # the sweep loads its own
    targets = {each: Target(str(folders[each.name])) for each in wanted}
    found = sweep(list(targets.values()), config, output / "results", overrides=Overrides(order.model, device=order.device))
    # a sweep keeps what its summary needs; influences and histograms are in the files
    files = {each: found.files[target.name] for each, target in targets.items() if target.name in found.files}
    reports = {each: _slim(Report.load(file)) for each, file in files.items()}
    evaluated = Evaluated(reports)
    notes = [f"{each.title}: {found.errors[target.name]}" for each, target in targets.items() if target.name in found.errors]
    notes += [*_text(order), *_tasks(reports), *_without_topk(evaluated, d_in), *_dead(reports)]
    findings = Findings(order.name, hook, grid, find(evaluated, d_in), len(reports), len(wanted), tuple(notes))
    return Trends(findings, evaluated, {each.title: file for each, file in files.items()})


def _slim(report: Report) -> Report:
    """Without what findings and figures do not need: of tables those that tell units apart stay, such as of probe tasks."""
    slim, metrics = report.without("examples", "explanations", "effects"), {}
    for name, result in slim.metrics.items():
        units = metric_spec(name).units
        metrics[name] = replace(result, tables={key: rows for key, rows in result.tables.items() if units and key == units.table})
    return replace(slim, metrics=metrics)


def _text(order: TrendsOrder) -> Iterator[str]:
    yield f"trained on {order.training_tokens:,} tokens of {order.text}, evaluated on {order.tokens:,} of rows that training did not read"


def _tasks(reports: Mapping[Trained, Report]) -> Iterator[str]:
    """What probe findings are about."""
    for report in reports.values():
        if "probe" in report.metrics:
            rows = report.metrics["probe"].tables.get("tasks", [])
            yield f"findings about probes are about the {len(rows)} tasks that were asked; what other tasks would say is not in ±"
            return


def _without_topk(evaluated: Evaluated, d_in: int) -> Iterator[str]:
    """Which ReLU SAEs stand beside no TopK SAEs."""
    means = Means(d_in, tuple(evaluated.cells), evaluated.mean)
    with suppress(ResultError):
        if alone := {cell.name for cell in means.relu} - {cell.name for cell, _ in means.pairs()}:
            yield f"beside no TopK SAEs, as their L0 is not among those of the same width: {', '.join(sorted(alone))}"


def _dead(reports: Mapping[Trained, Report]) -> Iterator[str]:
    """Which SAEs are not what they are called: of many latents that never fire few are left."""
    shares = {each.title: report.sanity.estimates["dead_latents"].value or 0.0 for each, report in reports.items()}
    dead = {title: share for title, share in shares.items() if share > _MANY_DEAD}
    if dead:
        said = ", ".join(f"{title} ({share:.0%})" for title, share in dead.items())
        yield f"more than half of the latents never fire on this text, longer training (--training-tokens) revives some: {said}"


def _site(model: Any, order: TrendsOrder) -> tuple[int, str]:
    """The dimension of the activation, and the hook."""
    layers = getattr(getattr(model, "cfg", None), "n_layers", None)
    if not isinstance(layers, int):
        raise SubjectError(f"a {type(model).__name__} does not tell its layers: a model that TransformerLens knows is expected")
    hook = order.hook or f"blocks.{2 * layers // 3}.hook_resid_post"
    if hook not in getattr(model, "hook_dict", {}):
        raise SubjectError(f"the model {order.name!r} has no hook {hook!r}: give another one (--hook)")
    with torch.inference_mode():
        _, cache = model.run_with_cache(model.to_tokens("one two"), names_filter=hook)
    if cache[hook].ndim != 3:
        raise SubjectError(f"the hook {hook!r} has no one vector for each token: give one of the residual stream (--hook)")
    return cache[hook].shape[-1], hook


def _claim(output: Path, order: TrendsOrder, grid: Grid, hook: str) -> None:
    """Notes what the folder is for, so that SAEs of two grids are not mixed; of one without SAEs the text that is kept there goes."""
    sizes = {"training_tokens": order.training_tokens, "tokens": order.tokens}
    text = json.dumps({"model": order.name, "hook": hook, "text": order.text, **sizes, **asdict(grid)}, indent=1)
    path = output / "grid.json"
    if path.exists() and path.read_text(encoding="utf-8") != text:
        if any(output.glob("saes/seed-*")):
            raise ConfigError(
                f"{str(output)!r} holds SAEs of another grid, model or text, see grid.json in it: give another folder (--output)"
            )
        shutil.rmtree(output / _HELD_OUT, ignore_errors=True)
    write_atomically(path, text)


def _config(order: TrendsOrder, output: Path) -> MetricsConfig:
    return MetricsConfig(
        names=_METRICS,
        tokens=order.tokens,
        dataset=str(output / _HELD_OUT),
        probe=ProbeConfig(examples=400),
        n2g=N2GConfig(max_length=8),
        ablation=AblationConfig(sequences=128),
        shrinkage=ShrinkageConfig(tokens=order.tokens),
    )
