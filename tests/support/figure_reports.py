"""Reports and histories with numbers that can be told apart, as evaluations give them."""

import numpy as np
from specs import SPECS

from sae_lens_metrics.results import Estimate, FiringExample, Histogram, MetricResult, Report
from sae_lens_metrics.results.history import History, Point

HOSTILE = [
    "$\\frac{1}{0}$ and $x^{",
    "_hidden <script>alert(1)</script>\x00\x07\x1b[31m\ud800",
    "a/very/long/path/" * 20 + "%{x} </text> &lt; \u202eabc 漢字 🦊\nnew line",
    "",
]
FAMILIES = ("code", "format", "text")
BASELINES = ("channels_loss", "random_loss", "shuffled_loss")


def report(seed=0, *, tasks=13, latents=40, architecture="topk", metrics=tuple(SPECS), place=0, text="same"):
    """A report in which no two numbers are the same, but for baselines that do not depend on the SAE.

    Those are of one place in one model, which is the seed of their values in the tables of probes.
    """
    rng = np.random.default_rng(seed)
    made = {metric: _metric(metric, rng, tasks, latents, place) for metric in SPECS}
    return Report(
        made.pop("sanity"),
        {metric: result for metric, result in made.items() if metric in metrics},
        provenance={"sae": {"architecture": architecture, "d_sae": 64}, "corpus": {"tokens_sha256": text}},
    )


def history(seed=0, evaluations=3):
    """A history whose numbers are those of reports."""
    points = [
        Point(100 * (i + 1), 102_400 * (i + 1), i == evaluations - 1, report(100 * seed + i).flat() | {"other/number": 1.0 + i})
        for i in range(evaluations)
    ]
    return History(points)


def _metric(metric, rng, tasks, latents, place):
    names = [name for name in {**SPECS[metric].shown(), **SPECS[metric].baselines()} if name != "gaussian"]
    estimates = {
        name: Estimate(float(rng.uniform(0.1, 2)), float(rng.uniform(0.001, 0.1)), 30, "documents", influence=[0.25, -0.25, *[0.0] * 28])
        for name in names
    }
    if metric == "sanity":
        estimates["l0"] = Estimate(float(rng.uniform(5, 500)), 0.3, 30, "documents")
    if metric == "probe":
        estimates["channels_loss"] = Estimate(0.6, 0.01, tasks, "tasks")
        return MetricResult(estimates, tables=_probe_tables(rng, tasks, place))
    if metric == "n2g":
        return MetricResult(
            estimates, {"latents": _latents(rng, latents)}, examples=[FiringExample(0, "top", 1, ["a", "b"], [0.0, 2.0], [0.0, 1.0])]
        )
    if metric == "ablation":
        estimates["gaussian"] = Estimate(2 / np.pi, None, 0, "sequences", "a constant")
        return MetricResult(estimates, histograms={"distribution": _histogram(rng, 0, 1, 50)})
    return MetricResult(estimates, histograms={"change": _histogram(rng, -1, 3, 80)} if metric == "shrinkage" else {})


def _probe_tables(rng, tasks, place):
    common = np.random.default_rng([place, 1])
    of_families = [_baselines(common) for _ in FAMILIES]
    own = ("loss", "shuffled_loss")
    rows = [
        {"task": f"task_{i}", "family": FAMILIES[i % 3], **{name: float(rng.uniform(0.05, 0.69)) for name in own}, **_baselines(common)}
        for i in range(tasks)
    ]
    families = [
        {"family": family, "tasks": 4, "loss_stderr": None if i else 0.02, "loss": float(rng.uniform(0.05, 0.69)), **of_families[i]}
        for i, family in enumerate(FAMILIES)
    ]
    return {"tasks": rows, "families": families}


def _baselines(rng):
    return {name: float(rng.uniform(0.05, 0.69)) for name in ("channels_loss", "random_loss")}


def _latents(rng, latents):
    rows = [
        {"latent": i, "ngrams": 1, "density": float(10 ** rng.uniform(-5, -0.1)), "f1": float(rng.uniform(0, 1))} for i in range(latents)
    ]
    return [
        *rows,
        {"latent": latents, "ngrams": 0, "density": 0.0, "f1": None},
        {"latent": latents + 1, "ngrams": 1, "density": 1.0, "f1": 1.0},
    ]


def _histogram(rng, low, high, bins):
    return Histogram(np.linspace(low, high, bins + 1).tolist(), rng.integers(0, 1000, bins).tolist())
