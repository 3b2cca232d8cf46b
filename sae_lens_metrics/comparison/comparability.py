"""What two reports have in common: whether their numbers mean the same, and whether they are over the same units."""

from collections.abc import Iterator, Mapping
from typing import Any

from sae_lens_metrics.results import Estimate, Report

__all__ = ["Common"]

_TEXT = frozenset({"sequences", "documents"})
_SETTINGS = {"sanity": (), "explanation": ("n2g", "explanation")}
"""Sections of the configuration that a metric depends on, where that is not the one of its own name."""
_CHANGES_NOTHING = frozenset({"n2g.folder", "n2g.shown", "ablation.shown", "probe.strict", "probe.tasks", "probe.task_files"})
"""Settings that change no number; or, for tasks, that the results themselves tell better."""
_CHANGES_THE_SAMPLE = frozenset(
    {"shrinkage.tokens", "n2g.latents", "ablation.sequences", "ablation.positions", "ablation.latents", "ablation.baselines"}
)
"""Settings that change which units a number is over, but not what it means."""
_ALIKE = {
    "sae": ("model_name", "hook_name", "hook_head_index", "output_hook_name", "dtype"),
    "corpus": ("name", "split", "context_size", "tokens"),
    "versions": ("sae-lens-metrics",),
}
"""What a reader expects to be the same in both reports, by section of the provenance."""


class Common:
    """What two reports have in common.

    Args:
        first: A report.
        second: Another one.
    """

    def __init__(self, first: Report, second: Report) -> None:
        self._both = first, second
        self._estimates = tuple(dict(report.estimates()) for report in self._both)
        self._text, self._seeds = self._other_text(), self._other_seeds()
        self._tasks = {name: self._other_tasks(name) for name in first.metrics if name in second.metrics}

    def is_same(self, number: str) -> bool:
        """Whether both reports have the same value of a number, as of a baseline at one place of one model on one text."""
        first, second = (estimates.get(number) for estimates in self._estimates)
        return first is not None and second is not None and first.value == second.value

    def left_out(self, metric: str) -> str | None:
        """Why the numbers of a metric cannot be compared: one of its settings that changes what they mean differs."""
        different = [text for name, text in self._settings(metric) if name not in _CHANGES_THE_SAMPLE]
        return "; ".join(different) or None

    def unpaired(self, metric: str, first: Estimate, second: Estimate) -> str | None:
        """Why two estimates of a metric are not over the same units, one by one; ``None`` where they are."""
        if first.of != second.of:
            return f"the errors are over {first.of} in one and over {second.of} in the other"
        if first.of not in _TEXT | {"tasks"}:
            return f"two SAEs have no {first.of} in common"
        if first.influence is None or second.influence is None:
            return "a result does not tell what each unit did (those of format 1.0 do not), evaluate again to pair them"
        reason = self._tasks.get(metric, "the tasks are not known") if first.of == "tasks" else self._text
        if reason := reason or self._seeds:
            return reason
        if sampled := [text for name, text in self._settings(metric) if name in _CHANGES_THE_SAMPLE]:
            return "; ".join(sampled)
        if len(first.influence) != len(second.influence):
            return f"there are {len(first.influence)} and {len(second.influence)} {first.of}"
        return None

    def notes(self) -> Iterator[str]:
        """What else differs, and may be the reason why numbers do."""
        for section in _ALIKE:
            for text in self._differing(section):
                yield f"the reports differ in {section.removesuffix('s') if section == 'versions' else section}, {text}"

    def _sections(self, *path: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """A section of both reports' provenance; empty where a report has none."""
        first, second = (_section(report.provenance, path) for report in self._both)
        return first, second

    def _settings(self, metric: str) -> Iterator[tuple[str, str]]:
        """The settings of a metric that differ, by full name, in words; a setting that only one version knows is not among them."""
        for section in _SETTINGS.get(metric, (metric,)):
            first, second = self._sections("config", section)
            for key in first:
                name = f"{section}.{key}"
                if name not in _CHANGES_NOTHING and key in second and first[key] != second[key]:
                    yield name, f"{name} is {first[key]!r} in one and {second[key]!r} in the other"

    def _differing(self, section: str) -> Iterator[str]:
        first, second = self._sections(section)
        for key in _ALIKE[section]:
            if first.get(key) != second.get(key):
                yield f"{key}: {first.get(key)!r} and {second.get(key)!r}"

    def _other_text(self) -> str | None:
        """Why the reports' sequences or documents are not the same."""
        first, second = self._sections("corpus")
        if "tokens_sha256" not in first or "tokens_sha256" not in second:
            return "a report does not tell which text it is on"
        if any(first.get(key) != second.get(key) for key in ("tokens_sha256", "documents")):
            return "the texts differ, evaluate on the same text and seed to pair them"
        return None

    def _other_seeds(self) -> str | None:
        """Why what metrics draw at random is not the same; it moves all units at once, which their influences do not tell."""
        first, second = (section.get("seed") for section in self._sections("config"))
        return None if first == second else f"the seeds differ ({first!r} and {second!r}), evaluate with the same one to pair them"

    def _other_tasks(self, metric: str) -> str | None:
        """Why the probe tasks are not the same, with the same examples."""
        first, second = (report.metrics[metric].tables.get("tasks", []) for report in self._both)
        names = [[row.get("task") for row in rows] for rows in (first, second)]
        if not all(names) or None in names[0] + names[1]:
            return "the tasks are not known"
        if names[0] != names[1]:
            return f"the probe tasks differ ({len(first)} and {len(second)})"
        changed = [str(a["task"]) for a, b in zip(first, second, strict=True) if a.get("fingerprint") != b.get("fingerprint")]
        return f"the examples of probe tasks differ ({', '.join(changed[:3])}{' …' if changed[3:] else ''})" if changed else None


def _section(data: Any, path: tuple[str, ...]) -> Mapping[str, Any]:
    for key in path:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data if isinstance(data, Mapping) else {}
