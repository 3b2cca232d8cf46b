"""What a metric and a number mean, in the terminal."""

import pytest

from sae_lens_metrics import MetricSpec, Number, metric_names, metric_spec, register_metric, unregister_metric
from sae_lens_metrics.cli.main import main


def printed(name, capsys, monkeypatch, columns="140"):
    monkeypatch.setenv("COLUMNS", columns)
    assert main(["explain", name]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("metric", ["sanity", *metric_names()])
def test_a_metric_has_its_definition_choices_trust_and_every_number(metric, capsys, monkeypatch):
    text = printed(metric, capsys, monkeypatch)
    for heading in ("Definition", "How far to trust it", "Numbers"):
        assert heading in text.splitlines()
    rows = {line.split()[0] for line in text.splitlines() if line.strip()}
    assert set(metric_spec(metric).numbers) <= rows
    assert "<!--" not in text


def test_a_number(capsys, monkeypatch):
    words = " ".join(printed("probe/loss", capsys, monkeypatch).split())
    for said in ("probe/loss: loss of the best 1d probe", "in nats; lower is better", "probe/random_loss", "How far to trust it"):
        assert said in words
    words = " ".join(printed("probe/loss_minus_random", capsys, monkeypatch).split())
    assert "probe/loss minus probe/random_loss, paired" in words
    assert "a baseline, to judge probe/loss by" in printed("probe/random_loss", capsys, monkeypatch)


def test_lines_fit_a_narrow_terminal(capsys, monkeypatch):
    assert all(len(line) <= 80 for line in printed("shrinkage/ratio", capsys, monkeypatch, columns="80").splitlines())


def test_a_metric_of_another_package(capsys, monkeypatch):
    numbers = {"max_cosine": Number("nearest [bold]decoder\x1b cosine", unit="share", better="lower")}
    spec = register_metric("overlap", lambda context: None, numbers=numbers, meaning="How alike latents are.", trust="Exact.")
    try:
        assert isinstance(spec, MetricSpec)
        metric, number = (printed(name, capsys, monkeypatch) for name in ("overlap", "overlap/max_cosine"))
    finally:
        unregister_metric("overlap")
    assert "How alike latents are." in metric
    assert "max_cosine" in metric
    assert r"overlap/max_cosine: nearest [bold]decoder\x1b cosine" in number
    assert "a share, 0 to 1; lower is better" in number
    assert "Exact." in number


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("probs", "there is no metric or number probs: did you mean probe?"),
        ("probe/los", "there is no number probe/los: did you mean probe/loss?"),
        ("ratio", "there is no metric or number ratio: did you mean shrinkage/ratio?"),
        ("qqqqqqqqq", "there is no metric or number qqqqqqqqq"),
    ],
)
def test_a_wrong_name(given, said, capsys):
    with pytest.raises(SystemExit) as status:
        main(["explain", given])
    assert status.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"sae-lens-metrics explain: {said}", "sae-lens-metrics explain --help lists all metrics"]
