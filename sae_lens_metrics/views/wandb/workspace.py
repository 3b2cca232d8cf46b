"""A saved W&B workspace for runs with these metrics: what is in it, and how it is saved."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sae_lens_metrics.errors import ConfigError, MetricsError
from sae_lens_metrics.integrations.wandb_workspaces import workspace_content
from sae_lens_metrics.metrics.registry import SANITY, metric_spec, readable_specs
from sae_lens_metrics.metrics.sanity.spec import L0
from sae_lens_metrics.metrics.spec import MetricSpec
from sae_lens_metrics.views.wandb.log import REMARKS, figure_key

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2.interface import PanelTypes
    from wandb_workspaces.workspaces import Section, Workspace

__all__ = ["dashboard", "save_dashboard", "specification"]

_ARCHITECTURE, _D_SAE = "sae.architecture", "sae.d_sae"
"""Where runs of SAELens's trainer and of evaluations have these in their configuration."""


def dashboard(entity: str, project: str, name: str) -> "Workspace":
    """Puts a workspace together; needs no network.

    It has the main numbers over the runs' L0 (one point for each SAE, coloured by its number of latents), curves over training for each
    metric, the latents with their explanations and examples, the figures, and the runs side by side. Whatever else was logged follows in
    sections that W&B makes.

    Args:
        entity: User or team that the project belongs to.
        project: The project.
        name: What the workspace is called.

    Raises:
        ConfigError: If the package ``wandb-workspaces`` is missing, or does not accept the name.
    """
    try:
        from pydantic import ValidationError
        from wandb_workspaces import workspaces
    except ImportError as error:
        raise ConfigError(
            f"a dashboard needs the package wandb-workspaces ({error}): install it with pip install 'sae-lens-metrics[dashboard]'"
        ) from error
    columns = [f"config:sae.value.{key.removeprefix('sae.')}" for key in (_ARCHITECTURE, _D_SAE)]
    columns += [f"summary:{key}" for key in (L0, *_headlines())]
    try:
        return workspaces.Workspace(
            entity=entity,
            project=project,
            name=name,
            sections=list(_sections()),
            settings=workspaces.WorkspaceSettings(group_by_prefix="first"),  # metric/name: one section for each metric
            runset_settings=workspaces.RunsetSettings(pinned_columns=columns),
            auto_generate_panels=True,
        )
    except ValidationError as error:
        raise ConfigError(f"W&B does not accept this workspace: {error.errors()[0]['msg']}") from error


def specification(workspace: "Workspace") -> dict[str, Any]:
    """What ``save_dashboard`` sends to the server as the workspace's content; the ids of panels are random."""
    return workspace_content(workspace)


def save_dashboard(workspace: "Workspace") -> str:
    """Saves a workspace on the W&B server.

    Returns:
        Its address.

    Raises:
        MetricsError: If nobody is logged in, or the server refuses.
    """
    try:
        return str(workspace.save().url)
    except Exception as error:  # W&B, its transport and what parses the answer each raise their own
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise MetricsError(
            f"W&B did not save the dashboard in {workspace.entity}/{workspace.project} ({reason}): log in with `wandb login`, "
            "and check that the project is there and yours to write"
        ) from error


def _headlines() -> list[str]:
    return [spec.full(spec.headline) for spec in _specs()]


def _specs() -> list[MetricSpec]:
    """The sanity line's spec, then those of all metrics that say what their numbers are."""
    return [metric_spec(SANITY), *(spec for spec in readable_specs()[0] if spec.headline)]


def _sections() -> Iterator["Section"]:
    from wandb_workspaces.reports import v2 as panels
    from wandb_workspaces.workspaces import Section, SectionLayoutSettings

    one_column = SectionLayoutSettings(columns=1, rows=2)
    yield Section(name="SAEs by L0", panels=list(_over_runs()), is_open=True)
    yield Section(name="SAEs by architecture", panels=list(_by_architecture()))
    for spec in _specs():
        yield Section(name=spec.title, panels=list(_over_training(spec)), is_open=spec.name == SANITY)
    latents: list[PanelTypes] = [panels.WeavePanelSummaryTable(table_name=spec.full("latents")) for spec in _specs() if spec.latents]
    examples = [spec.full("examples") for spec in _specs() if spec.examples]
    latents += [panels.MediaBrowser(title="Examples", media_keys=[key], num_columns=1) for key in examples]
    yield Section(name="Latents and examples", panels=latents, layout_settings=one_column)
    figures = [spec.full(figure.name) for spec in _specs() for figure in spec.figures]
    yield Section(
        name="Figures", panels=[panels.MediaBrowser(title=name, media_keys=[figure_key(name)], num_columns=1) for name in figures]
    )
    yield Section(name="Warnings and notes", panels=[panels.WeavePanelSummaryTable(table_name=REMARKS)], layout_settings=one_column)
    yield Section(name="Runs side by side", panels=[panels.RunComparer(diff_only=True)], layout_settings=one_column)


def _over_runs() -> Iterator["PanelTypes"]:
    """The paper's scatter plots: a main number against L0, a point for each SAE."""
    from wandb_workspaces.reports import v2 as panels

    for key in _headlines():
        yield panels.ScatterPlot(
            title=_title(key),
            x=panels.SummaryMetric(L0),
            y=panels.SummaryMetric(key),
            z=panels.Config(_D_SAE),
            log_x=True,
            log_z=True,
        )


def _by_architecture() -> Iterator["PanelTypes"]:
    """Means over the SAEs of each architecture: W&B's scatter plots cannot be coloured by what is no number."""
    from wandb_workspaces.reports import v2 as panels

    for key in (L0, *_headlines()):
        yield panels.BarPlot(title=_title(key), metrics=[key], groupby=panels.Config(_ARCHITECTURE), groupby_aggfunc="mean")


def _over_training(spec: MetricSpec) -> Iterator["PanelTypes"]:
    """How to read a metric, the number to look at during training, its main number with what to compare it with, then each other number."""
    from wandb_workspaces.reports import v2 as panels

    yield panels.MarkdownPanel(markdown=f"**{spec.title}**\n\n{spec.meaning}\n\n{spec.trust}")
    first = [spec.headline, *spec.baselines()]
    headline = panels.LinePlot(title=_title(spec.full(spec.headline)), y=[spec.full(name) for name in first])
    others = {name: panels.LinePlot(title=_title(spec.full(name)), y=[spec.full(name)]) for name in spec.shown() if name not in first}
    yield from filter(None, [others.pop(spec.leading, None), headline, *others.values()])


def _title(key: str) -> str:
    metric, name = key.split("/")
    return f"{metric_spec(metric).title}: {name.replace('_', ' ')}"
