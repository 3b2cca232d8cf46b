"""Reports made in code: of any size, with examples, and with text that tries to be more than text."""

import random
from dataclasses import replace

from sae_lens_metrics.results import (
    Estimate,
    ExplanationNGram,
    FiringExample,
    Histogram,
    LatentEffects,
    LatentExplanation,
    MatchingRules,
    MetricResult,
    NGramExplanations,
    Repeated,
    Report,
    TokenChange,
)
from sae_lens_metrics.results.history import History, Point

HOSTILE = {
    "closing": "</script><img src=x onerror=window.hacked=1>",
    "comment": "<!--<script>window.hacked=2</script>",
    "direction": "a\u202egnp.exe\u2066\u200f",
    "null": "a\x00b\x1b[31m\x07",
    "surrogate": "half \ud83d of a pair",
    "emoji": "👩‍🔬🇩🇪é",
    "quotes": 'it\'s "both" \\ | <b>&amp;&lt;',
    "formula": "=cmd|' /C calc'!A0",
    "template": "{{ 7*7 }}{% raw %}${7*7}",
}
"""Text by what is wrong with it."""
LONG = "wide<i>" * 1_500

WORDS = [
    " the",
    " of",
    "def",
    " self",
    ".",
    "(",
    "):",
    "\n",
    "    ",
    " return",
    " value",
    "import",
    " x",
    "=",
    '"',
    "'",
    " None",
    "\n\n",
    ",",
]


def make_report(
    latents: int = 24, *, seed: int = 0, architecture: str = "standard", examples: int = 6, tokens: int = 25, directions: bool = False
) -> Report:
    """A report with everything that an evaluation gives; with what latents write where that is asked for."""
    draw = random.Random(seed)
    metrics = {
        "probe": _probe(draw, latents),
        "n2g": _n2g(draw, latents, examples, tokens),
        "ablation": _ablation(draw, latents),
        "shrinkage": MetricResult(
            {"ratio": _estimate(draw, 1.1, 8), "gamma": Estimate.absent("the reconstruction is zero everywhere", of="documents")},
            histograms={"change": Histogram([-1.0, 0.0, 1.0], [3, 9])},
            seconds=4.5,
        ),
    }
    if directions:
        metrics["directions"] = _directions(draw, latents)
    sanity = MetricResult(
        {
            "l0": _estimate(draw, 16.0, 8),
            "explained_variance": _estimate(draw, 0.8, 8),
            "dead_latents": Estimate(0.0, None, latents, "latents", "it is exact"),
            "ce_clean": _estimate(draw, 2.9, 8),
        },
        notes=["measured on all of the text"],
        seconds=1.25,
    )
    return Report(sanity, metrics, provenance=_provenance(latents, architecture, seed))


def hostile_report(text: str) -> Report:
    """A report in which a text stands wherever text can stand."""
    plain = make_report(4)
    row = {"latent": 0, "density": 0.1, "ngrams": 2, "precision": 0.5}
    free = row | {"latent": 1, "ngrams": text}
    ngrams = [ExplanationNGram([3, None], [text, None], False, 0.5), ExplanationNGram([4], [text], True, 1.0)]
    explanations = NGramExplanations(MatchingRules("released", [0], 0), [LatentExplanation(0, ngrams), LatentExplanation(1, ngrams[:1])])
    tasks = [{"task": text, "family": text, "latent": latent, "loss": 0.1, "neuronpedia": text} for latent in (0, 1)]
    effects = {
        "latent": 0,
        "ablations": 1,
        "sparsity": 0.5,
        "effect": 1.0,
        "tokens_affected": 0.2,
    }
    changes = [LatentEffects(0, [TokenChange(3, text, 0.5)], [TokenChange(None, text, -0.5)])]
    near = {"latent": 0, "nearest": 1, "max_cosine": 0.5, "match": 1, "match_cosine": 0.5, "match_correlation": None}
    example = FiringExample(0, "top", 1, [text, text, "end"], [0.0, 2.0, 1.0], [0.5, 0.0, 0.0])
    other = FiringExample(0, text, 0, [text], [1.0], [1.0])
    metrics = {
        "n2g": MetricResult(
            {"f1": Estimate.absent(text, of=text)},
            {"latents": [row, free]},
            examples=[example, other],
            explanations=explanations,
            notes=[text],
        ),
        "probe": MetricResult({"loss": Estimate(0.5, 0.1, 2, text, text)}, {"tasks": tasks}, notes=[text]),
        "ablation": MetricResult({"sparsity": Estimate(0.5, None, 2, text)}, {"latents": [effects]}, effects=changes),
        "directions": MetricResult({"next_token": Estimate.absent(text, of=text)}, {"latents": [near]}, effects=changes),
        text: MetricResult({text: Estimate(1.0, 0.5, 3, text)}, {f"table {text}": [{text: text}]}, notes=[text]),
    }
    sae = {"architecture": text, "model_name": text, "hook_name": text, "neuronpedia_id": text, "weights_sha256": text, "release": text}
    corpus = {"dataset": text, "split": text, "tokens_sha256": text, text: text}
    about = {"versions": {"torch": text, text: text}, "model": text, text: text}
    provenance = {
        "sae": sae,
        "corpus": corpus,
        **about,
        "config": {text: {text: text}, "dataset": text, "directions": {"against": text}},
        "created": text,
    }
    return Report(plain.sanity, metrics, errors={text: text}, warnings=[text], provenance=provenance)


def make_history(points: int = 3) -> History:
    """Some evaluations of a training run."""
    made = [
        Point(
            step,
            1000 * step,
            step == points,
            {"sanity/l0": 50.0 / step, "sanity/l0_stderr": 1.0, "sanity/explained_variance": 1 - 0.5 / step},
        )
        for step in range(1, points + 1)
    ]
    return History(made)


def _estimate(draw: random.Random, value: float, n: int) -> Estimate:
    influence = [draw.gauss(0, 0.001) for _ in range(n)]
    return Estimate(value * draw.uniform(0.97, 1.03), draw.uniform(0.001, 0.02), n, "documents", influence=influence)


def _probe(draw: random.Random, latents: int) -> MetricResult:
    tasks = [
        {
            "task": name,
            "family": "made",
            "latent": draw.randrange(latents),
            "loss": draw.random(),
            "held_out_loss": draw.random(),
            "neuronpedia": None,
        }
        for name in ("spanish", "python_code", "numbers")
    ]
    estimates = {name: _estimate(draw, value, 3) for name, value in (("loss", 0.4), ("channels_loss", 0.5), ("random_loss", 0.45))}
    again = Repeated(0.02, 3, "groups of texts", influence=[0.01, 0.0, -0.01])
    estimates |= {
        "loss": replace(estimates["loss"], repeated=again),
        "random_loss": replace(estimates["random_loss"], repeated=again.times(2)),
    }
    return MetricResult(estimates, {"tasks": tasks}, notes=["what a probe reads: the last token"], seconds=9.0)


def _n2g(draw: random.Random, latents: int, examples: int, tokens: int) -> MetricResult:
    rows = [
        {
            "latent": latent,
            "density": 10 ** draw.uniform(-5, -1),
            "ngrams": 2,
            "precision": draw.random() if latent % 7 else None,
            "recall": draw.random(),
            "f1": draw.random(),
            "predicted": draw.randrange(900),
            "fired": draw.randrange(900),
        }
        for latent in range(latents)
    ]
    kinds = ("top", "random", "predicted")
    made = [_example(draw, latent, kinds[k % 3], tokens) for latent in range(latents) for k in range(examples)]
    return MetricResult(
        {name: _estimate(draw, 0.3, 8) for name in ("f1", "precision", "recall")},
        {"latents": rows},
        examples=made,
        explanations=NGramExplanations(MatchingRules("released", [0], 0), [_explained(draw, latent) for latent in range(latents)]),
        seconds=20.0,
    )


def _explained(draw: random.Random, latent: int) -> LatentExplanation:
    first, last, only = (draw.randrange(len(WORDS)) for _ in range(3))
    either = ExplanationNGram([first, None, last], [WORDS[first], None, WORDS[last]], False, 0.5)
    return LatentExplanation(latent, [either, ExplanationNGram([only], [WORDS[only]], True, 1.25)])


def _example(draw: random.Random, latent: int, kind: str, tokens: int) -> FiringExample:
    at = tokens * 2 // 3
    activations = [round(draw.expovariate(1), 3) if i == at or draw.random() < 0.1 else 0.0 for i in range(tokens)]
    predictions = [round(draw.expovariate(1), 3) if draw.random() < 0.1 else 0.0 for _ in range(tokens)]
    return FiringExample(latent, kind, at, [draw.choice(WORDS) for _ in range(tokens)], activations, predictions)


def _ablation(draw: random.Random, latents: int) -> MetricResult:
    rows = [
        {
            "latent": latent,
            "ablations": draw.randrange(1, 20),
            "sparsity": draw.random(),
            "effect": draw.expovariate(1),
            "tokens_affected": draw.random(),
        }
        for latent in range(0, latents, 2)
    ]
    raised, lowered = [TokenChange(1, " a", 0.083), TokenChange(2, "\n", 0.0781)], [TokenChange(3, "it's", -1e-05)]
    return MetricResult(
        {"sparsity": _estimate(draw, 0.1, 8), "random_sparsity": _estimate(draw, 0.2, 8)},
        {"latents": rows},
        effects=[LatentEffects(latent, raised, lowered) for latent in range(0, latents, 2)],
        seconds=6.0,
    )


def _directions(draw: random.Random, latents: int) -> MetricResult:
    rows = [
        {
            "latent": latent,
            "fires": draw.randrange(900),
            "next_token": draw.gauss(0, 1),
            "written": draw.uniform(3, 9),
            "nearest": (latent + 1) % latents,
            "max_cosine": draw.random(),
            "nearest_2": (latent + 2) % latents,
            "cosine_2": draw.random() / 2,
            "match": draw.randrange(latents),
            "match_cosine": draw.random(),
            "match_correlation": draw.random(),
        }
        for latent in range(latents)
    ]
    changes = [
        LatentEffects(latent, [TokenChange(7, " import", 0.5), TokenChange(8, f" word{latent}", 0.25)], [TokenChange(9, " the", -0.125)])
        for latent in range(latents)
    ]
    return MetricResult({"next_token": _estimate(draw, 0.5, 8), "max_cosine": _estimate(draw, 0.3, 8)}, {"latents": rows}, effects=changes)


def _provenance(latents: int, architecture: str, seed: int) -> dict[str, object]:
    return {
        "created": "2026-01-02T03:04:05+00:00",
        "config": {"tokens": 65536, "seed": 2**63 - 25 + seed, "n2g": {"variant": "released", "latents": None}, "names": ["n2g", "probe"]},
        "sae": {
            "architecture": architecture,
            "d_sae": latents,
            "hook_name": "blocks.2.hook_resid_post",
            "neuronpedia_id": "gpt2-small/2-res-jb",
        },
        "corpus": {"name": "made up", "tokens": 65536},
        "versions": {"python": "3.11"},
    }
