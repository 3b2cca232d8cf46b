"""Numbers as ``model-index`` of a model card, which the hub shows beside it, and programs read."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sae_lens_metrics.metrics.registry import spec_of_result
from sae_lens_metrics.results import Report
from sae_lens_metrics.results.in_words import encodable

__all__ = ["SOURCE", "model_index"]

SOURCE = "sae-lens-metrics"
"""What results of this package call their source, by which they are found again."""
_PAPER = "https://arxiv.org/abs/2406.04093"


def model_index(reports: Mapping[str, Report], former: Any, name: str, url: str = _PAPER) -> list[Any]:
    """A card's results with those of this package in the place of its former ones; all others stay.

    Args:
        reports: The results by the SAEs' names.
        former: What the card has, if anything.
        name: What the model is called where the card has no results yet.
        url: Where the results come from.
    """
    models = [dict(each) if isinstance(each, dict) else each for each in former] if isinstance(former, list) else []
    for model in (each for each in models if isinstance(each, dict)):
        results = model.get("results")
        model["results"] = [each for each in results if not _is_ours(each)] if isinstance(results, list) else []
    target = next((each for each in models if isinstance(each, dict)), None)
    if target is None:
        target = {"name": name, "results": []}
        models.append(target)
    target["results"] = [*target["results"], *(_result(sae, report, url) for sae, report in reports.items())]
    return models


def _is_ours(result: Any) -> bool:
    return isinstance(result, dict) and isinstance(source := result.get("source"), dict) and source.get("name") == SOURCE


def _result(sae: str, report: Report, url: str) -> dict[str, Any]:
    corpus = report.section("corpus")
    text = corpus.get("name") if isinstance(corpus.get("name"), str) else "text"
    dataset = {"name": encodable(str(text)), "type": _identifier(str(text))}
    if isinstance(split := corpus.get("split"), str):
        dataset["split"] = encodable(split)
    task = {"type": "feature-extraction", "name": f"sparse autoencoder {encodable(sae)}"}
    return {"task": task, "dataset": dataset, "metrics": list(_metrics(report)), "source": {"name": SOURCE, "url": url}}


def _identifier(text: str) -> str:
    """A name as the hub takes one for a data set: NAME or OWNER/NAME."""
    parts = [re.sub(r"[^A-Za-z0-9_.-]+", "-", part).strip("-") for part in text.split("/", 1)]
    return "/".join(part for part in parts if part) or "text"


def _metrics(report: Report) -> Iterator[dict[str, Any]]:
    """The numbers that tables show and that are the SAE's own, without baselines."""
    for metric, result in report.results():
        spec = spec_of_result(metric, result.estimates)
        for name, number in spec.shown().items():
            estimate = result.estimates.get(name)
            if estimate is None or estimate.value is None or number.baseline_of is not None:
                continue
            known = {"stderr": estimate.stderr, "n": estimate.n, "of": encodable(estimate.of)}
            more = {key: value for key, value in known.items() if value is not None}
            yield {"type": encodable(spec.full(name)), "name": encodable(number.label), "value": estimate.value, "args": more}
