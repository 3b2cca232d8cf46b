"""Reports of several SAEs of known order: values a few errors apart, two layers, widths and architectures."""

from dataclasses import replace

from report_data import make_report

from sae_lens_metrics.results import Control, Estimate, MetricResult, Report

WORST_FIRST = (0.30, 0.31, 0.40, 0.41, 0.42, 0.50, 0.60, 0.61)
"""N2G's F1 of each, ± 0.01: neighbours are alike where they are 0.01 or 0.02 apart."""


def ranked_reports(names: str = "hgfedcba") -> dict[str, Report]:
    """Reports by name, the worst first; the second has no value, and only the third has an address on Neuronpedia and a control."""
    made = {}
    for i, (name, value) in enumerate(zip(names, WORST_FIRST, strict=True)):
        report = make_report(8, seed=i, architecture=("topk", "standard")[i % 2])
        sae = {
            "hook_name": f"blocks.{i % 4 // 2}.hook_resid_post",
            "model_name": "tiny",
            "neuronpedia_id": "tiny/1-made" if i == 2 else None,
        }
        report = report.with_provenance(sae=sae, corpus={"tokens_sha256": "same", "documents": 30}, config={"seed": 0})
        f1 = Estimate(value, 0.01, 30, "documents") if i != 1 else Estimate.absent("it broke", of="documents")
        report.metrics["n2g"].estimates["f1"] = f1
        report.metrics["probe"].estimates["random_loss"] = Estimate(0.45, 0.01, 3, "tasks")
        report.sanity.estimates["l0"] = Estimate(2.0 + i, 0.1, 30, "documents")
        made[name] = report
    third = names[2]
    control = MetricResult({"f1": Estimate(0.35, 0.01, 30, "documents")})
    made[third] = replace(made[third], controls={"random": Control({"sanity": made[third].sanity, "n2g": control})})
    return made
