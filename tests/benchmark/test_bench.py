"""The command that measures the machine: what it counts, that both ways do the same, and what it writes."""

import json
from pathlib import Path

import pandas
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from sae_lens_metrics import MetricsConfig
from sae_lens_metrics.benchmark.ablation_rates import Ablated
from sae_lens_metrics.benchmark.bench import MEASUREMENTS
from sae_lens_metrics.benchmark.documentation import with_costs
from sae_lens_metrics.benchmark.matching_rates import cut_ngrams, trie_of, walked
from sae_lens_metrics.benchmark.n2g_rates import Explained
from sae_lens_metrics.benchmark.presets import preset_times
from sae_lens_metrics.benchmark.probe_rates import newton_steps
from sae_lens_metrics.benchmark.shapes import GEMMA_2_2B, GPT2_SMALL, TINY
from sae_lens_metrics.benchmark.synthetic import synthetic_bench, zipf_tokens
from sae_lens_metrics.benchmark.tables import PRESETS, preset_rows, to_markdown
from sae_lens_metrics.cli.main import main
from sae_lens_metrics.functional.matching import Matcher
from sae_lens_metrics.functional.ngrams import Patterns

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bench():
    return synthetic_bench(TINY, "cpu", seconds=0)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "bench.json"
    assert main(["bench", "--shape", "tiny", "--device", "cpu", "--output", str(path)]) == 0
    return path


def counted(run):
    """Floating-point operations of matrix products, as PyTorch counts them."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return counter.get_total_flops()


def test_operations_are_those_of_weights(bench):
    """At most the scores of attention, and its sums of values, are left out."""
    tokens = bench.tokens(4)
    site, shape, n = bench.subject.site, bench.shape, tokens.numel()
    attention = 2 * 2 * shape.context * shape.n_heads * shape.d_head * n  # of which PyTorch does not count every kernel
    prefix, onwards = site.prefix(tokens), shape.n_layers - shape.layers_to_hook
    to_hook = counted(lambda: site.prefix(tokens)) - shape.to_hook * n
    assert 0 <= to_hook <= shape.layers_to_hook * attention
    to_logits = counted(lambda: site.logits(prefix)) - shape.onwards * n
    assert 0 <= to_logits <= onwards * attention
    x = site.activations(prefix)[0]
    assert counted(lambda: bench.subject.dictionary.encode(x)) == shape.encoding * len(x)


def test_weights_of_known_models():
    """Parameters as published, without embeddings, biases and norms."""
    assert GPT2_SMALL.n_layers * GPT2_SMALL.layer_weights == 12 * 12 * 768**2
    assert GEMMA_2_2B.n_layers * GEMMA_2_2B.layer_weights == pytest.approx(2.02e9, rel=0.01)


def test_an_ablation_takes_less_than_its_tokens():
    assert GPT2_SMALL.ablation(1) == GPT2_SMALL.onwards
    assert 15 * GPT2_SMALL.onwards < GPT2_SMALL.ablation(16) < 16 * GPT2_SMALL.onwards


def test_both_ways_to_ablate_agree(bench):
    ablated = Ablated(bench, 8)
    torch.testing.assert_close(ablated.sparsities()[:3], ablated.in_whole_runs(3).cpu(), rtol=1e-3, atol=1e-5)


def test_both_ways_to_match_agree():
    ngrams = cut_ngrams(20, 50)
    tokens = zipf_tokens((1, 200), 50, seed=3)
    matches = Matcher(Patterns.from_ngrams(ngrams), variant="released").match(tokens, torch.zeros_like(tokens, dtype=torch.bool))
    table = torch.zeros(20, 200)
    table[matches.latent, matches.position] = matches.value
    assert torch.equal(table, torch.tensor([walked(trie_of(ngrams[latent]), tokens[0].tolist()) for latent in range(20)]))
    assert 0 < len(matches.value) < table.numel()


def test_both_ways_to_explain_run_the_same_rows(bench):
    """Of one latent: the rows that the package runs are the distinct ones that the plain way asks for."""
    explained = Explained(bench, 1)
    explained.build()
    assert explained.build_plainly(explained.latents) >= explained.rows > 0


def test_steps_of_a_fit_are_counted():
    generator = torch.Generator().manual_seed(0)
    z, y = torch.randn(100, 50, generator=generator), torch.arange(100) % 2 == 0
    assert 1 <= newton_steps(z, y) < 6


def test_text_is_skewed():
    tokens = zipf_tokens((100_000,), 1_000, seed=0)
    assert 0 <= int(tokens.min()) <= int(tokens.max()) < 1_000
    assert 0.08 < float((tokens == 0).float().mean()) < 0.12  # ln 2 / ln 1000


def test_minutes_follow_from_the_rate():
    slow, fast = preset_times(1e9), preset_times(1e10)
    assert [each.minutes for each in slow] == pytest.approx([10 * each.minutes for each in fast])
    default = next(each for each in slow if (each.preset, each.shape) == ("default", "GPT-2 small"))
    assert set(default.by_metric) == {"sanity", *MetricsConfig.preset("default").names}
    assert default.by_metric["sanity"] == pytest.approx(65_536 * GPT2_SMALL.sanity / 1e9 / 60)


def test_the_result_loads_as_tables(written, capsys):
    result = json.loads(written.read_text())
    rates, presets = (pandas.DataFrame(result[name]) for name in ("rates", "presets"))
    assert len(rates) == len(MEASUREMENTS)
    assert (rates[["rate", "share", "work_per_unit"]] > 0).all(axis=None)
    assert {"probing", "n2g", "matching", "ablation", "refinement"} <= set(rates[rates.reference_rate.notna()].name)
    assert set(presets.preset) == {"train", "default", "paper"}
    assert (presets.minutes > 0).all()
    assert result["machine"]["name"]


def test_the_markdown_table_has_a_column_for_each_shape(written):
    result = json.loads(written.read_text())
    heading, line, *rows = to_markdown(preset_rows([result])).splitlines()
    assert heading.startswith(f"| {PRESETS} | GPT-2 small, 24,576 latents, ")
    assert line == "|---|---|---|"
    assert [row.split("|")[1].strip() for row in rows] == [
        "`train` (8,192 tokens)",
        "`default` (65,536 tokens)",
        "`paper` (1,048,576 tokens)",
    ]


def test_the_readmes_table_is_what_was_measured():
    """Else: ``python -m sae_lens_metrics.benchmark.documentation``."""
    readme, results = (ROOT / "README.md").read_text(encoding="utf-8"), sorted((ROOT / "examples").glob("bench*.json"))
    assert results
    assert with_costs(readme, results) == readme
    with pytest.raises(ValueError, match="must have one table"):
        with_costs("nothing", results)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--device", "nothing"], "there is no device 'nothing' here: give --device cpu"),
        (["--output", "table.csv"], "'table.csv' is no name for JSON: give --output table.json"),
        (["--output", "."], "'.' is a folder, and the result is a file: give --output bench.json"),
    ],
)
def test_mistakes(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *arguments]) == 2
    assert said in capsys.readouterr().err
