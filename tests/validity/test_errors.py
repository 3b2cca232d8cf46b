"""Standard errors of a real metric against the spread over texts that have nothing in common, as only a planted language has them."""

import statistics

import pytest
from graded_saes import Recipe, train
from planted_study import PlantedStudy

from sae_lens_metrics.evaluation.run import EvaluationRun

TEXTS = 8


@pytest.mark.slow
def test_n2g_knows_how_far_it_moves_from_text_to_text(tmp_path):
    """Where all latents are explained, other latents are no part of the error; it was two to three times too large with them."""
    studies = [PlantedStudy(tmp_path / str(seed), training=512, evaluation=384, tasks=1, text=1_000 * seed) for seed in range(1, TEXTS + 1)]
    [(_, sae)] = train(Recipe("topk", 5, 160, (200,)), studies[0].training.x)
    found = [EvaluationRun(study.subject(sae), study.corpus, study.config).compute("n2g").estimates for study in studies]
    for number in ("recall", "f1_full_sample"):
        s = statistics.stdev(each[number].value for each in found)
        reported = statistics.fmean(each[number].stderr for each in found)
        assert 0.45 < s / reported < 1.8, number  # s of so few texts is itself known to some 27 %
