import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import wandb
from loopback_wandb import ENTITY, PROJECT, loopback_wandb
from offline_wandb import fresh_wandb, history, logged_file, records, summary
from PIL import Image
from runners import small_metrics
from saes import training_sae

from sae_lens_metrics import Corpus, Estimate, Report, Subject, evaluate
from sae_lens_metrics.metrics.registry import built_in_metrics
from sae_lens_metrics.results import ExplanationNGram, FiringExample, LatentExplanation, MatchingRules, MetricResult, NGramExplanations
from sae_lens_metrics.results.readable_tables import readable_tables
from sae_lens_metrics.views.wandb.example_html import examples_html
from sae_lens_metrics.views.wandb.log import log_report, loggable, wandb_run

ALL = [*built_in_metrics()]
HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    "</div></section><script>alert(2)</script>",
    "\u202edlrow",
    "a\x00b",
    "\ud800",
    "👩🏽 🎉",
    "\"' onmouseover='alert(3)",
    "{{ 7 * 7 }}",
    "x" * 10_000,
    "\n",
]


@pytest.fixture(scope="module")
def report(model, tokens):
    """All metrics of a real SAE."""
    return evaluate(Subject(model, training_sae("topk")), Corpus.from_tokens(tokens), small_metrics(names=ALL, tokens=4096))


@pytest.fixture(scope="module")
def path(report, tmp_path_factory):
    return report.save(tmp_path_factory.mktemp("result") / "metrics.json")


class Parsed(HTMLParser):
    """What a browser would make of a document: its tags, their attributes, and the text of its body."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text = set(), set(), ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text += data


# --- an evaluation -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def offline(report, path, tmp_path, monkeypatch):
    fresh_wandb(tmp_path / "runs", monkeypatch)
    with wandb_run("tests", name="an SAE", config=report.provenance) as run:
        log_report(run, report, path)
    return tmp_path / "runs"


def test_an_evaluation_offline_has_every_number_in_history_and_summary(offline, path):
    ((step, items),) = history(offline)
    assert step == 0
    data = json.loads(path.read_text())
    shown = summary(offline)
    expected = 0
    for metric, result in {"sanity": data["sanity"], **data["metrics"]}.items():
        for name, estimate in result["estimates"].items():
            for key, value in ((name, estimate["value"]), (f"{name}_stderr", estimate["stderr"])):
                if value is None:
                    assert f"{metric}/{key}" not in items
                else:
                    assert items[f"{metric}/{key}"] == pytest.approx(value)
                    assert shown["summary"][f"{metric}/{key}"] == pytest.approx(value)
                    expected += 1
    assert expected > 120
    sae = shown["config"]["sae"]
    assert (sae["architecture"], sae["d_sae"], sae["hook_name"]) == ("topk", 96, "blocks.1.hook_resid_post")


def test_an_evaluation_offline_has_its_tables_histograms_and_pictures(offline, report, path):
    ((_, items),) = history(offline)
    tables = {f"{metric}/{name}": rows for metric, result in report.results() for name, rows in readable_tables(result).items() if rows}
    assert {"probe/tasks", "probe/families", "n2g/latents", "ablation/latents"} <= set(tables)
    for key, rows in tables.items():
        table = json.loads(logged_file(offline, items, key).read_text())
        assert table["columns"] == list(rows[0])
        assert [dict(zip(table["columns"], row, strict=True)) for row in table["data"]] == rows
    assert items["shrinkage/change.values"] == report.metrics["shrinkage"].histograms["change"].counts
    html = logged_file(offline, items, "n2g/examples").read_text()
    assert html.startswith("<!DOCTYPE html>")
    assert "app.wandb.ai" not in html  # no style sheet from elsewhere
    assert f"Latent {report.metrics['n2g'].examples[0].latent}" in html
    figures = [key.removesuffix("._type") for key, value in items.items() if value == "image-file"]
    assert len(figures) >= 10
    for key in figures:
        with Image.open(logged_file(offline, items, key)) as image:
            assert image.width > 400
            assert len(np.unique(np.asarray(image))) > 10  # something is drawn
    (artifact,) = (each for each in records(offline, "artifact") if each["type"] == "sae-metrics")
    (entry,) = artifact["manifest"]["contents"]
    assert artifact["name"] == f"sae-metrics-{report.provenance['sae']['weights_sha256'][:12]}"
    assert int(entry["size"]) == path.stat().st_size


def test_an_evaluation_offline_has_its_warnings_notes_and_numbers_of_units(report, tmp_path, monkeypatch):
    """Means over 49 and over 61 tasks do not look alike there."""
    told = replace(report, warnings=["mind this", "and </script> that"], errors={"broken": "ValueError: no"})
    probe, gone = told.metrics["probe"], Estimate.absent("no task is left", of="tasks")
    few = replace(probe, estimates=probe.estimates | {"gone": gone}, notes=["12 tasks are missing"])
    told = replace(told, metrics=told.metrics | {"probe": few})
    fresh_wandb(tmp_path / "runs", monkeypatch)
    with wandb_run("tests", name="an SAE", config={}) as run:
        log_report(run, told)
    ((_, items),) = history(tmp_path / "runs")
    shown = summary(tmp_path / "runs")["summary"]
    numbers = [estimate for _, estimate in told.estimates()]
    for found in (items, shown):
        assert found["report/warnings"] == 2
        assert found["report/absent"] == pytest.approx(sum(each.value is None for each in numbers) / len(numbers))
        assert found["report/warning_texts"] == "mind this | and </script> that"
        assert found["probe/loss_n"] == found["probe/held_out_loss_n"] == probe.estimates["loss"].n
        assert found["n2g/f1_n"] == report.metrics["n2g"].estimates["f1"].n
    assert not [key for key in items if key.startswith(("sanity/", "shrinkage/")) and key.endswith("_n")]
    table = json.loads(logged_file(tmp_path / "runs", items, "report/remarks").read_text())
    assert table["columns"] == ["kind", "about", "text"]
    for row in (
        ["warning", "", "and </script> that"],
        ["failed", "broken", "ValueError: no"],
        ["absent", "probe/gone", "no task is left"],
        ["note", "probe", "12 tasks are missing"],
    ):
        assert row in table["data"]


def test_a_report_says_how_many_tasks_were_asked_for_and_of_which_weights_the_model_is(report):
    assert report.asked("probe", "tasks") == len(report.metrics["probe"].tables["tasks"])
    assert report.asked("n2g", "latents") == 96
    assert len(report.provenance["model_sha256"]) == 64


def test_followed_numbers_have_their_numbers_of_units_and_the_summary_forgets_old_warnings(report):
    entries = loggable(report, "topk/", brief=True)
    assert {"topk/probe/held_out_loss_n", "topk/n2g/f1_n", "topk/report/remarks"} <= set(entries)
    assert "topk/probe/channels_loss_n" not in entries
    assert (entries["topk/report/warnings"], entries["topk/report/warning_texts"]) == (len(report.warnings), " | ".join(report.warnings))
    assert loggable(replace(report, warnings=[]), brief=True)["report/warning_texts"] == ""


def test_an_evaluation_online(report, path, monkeypatch):
    with loopback_wandb(monkeypatch) as server, wandb_run(PROJECT, name="an SAE", config=report.provenance) as run:
        log_report(run, report, path)
    assert server.unknown == []
    (row,) = server.history
    for key, value in report.flat().items():
        assert row[key] == server.summary[key] == pytest.approx(value)
    assert server.config["sae"]["value"]["architecture"] == "topk"
    for key, kind in {"n2g/examples": "html-file", "n2g/latents": "table-file", "probe/figure_by_task": "image-file"}.items():
        assert row[key]["_type"] == kind
        assert len(server.files[row[key]["path"]]) == row[key]["size"]
    (result,) = (i for i, each in enumerate(server.artifacts, start=1) if each["artifactTypeName"] == "sae-metrics")
    assert server.files[f"artifacts/artifact{result}/metrics.json"] == path.read_bytes()
    assert f"artifact{result}" in server.committed
    assert server.artifacts[result - 1]["entityName"] == ENTITY


def test_a_run_of_the_users_is_used_and_left_open(report, tmp_path, monkeypatch):
    fresh_wandb(tmp_path / "runs", monkeypatch)
    with wandb.init(project="theirs", config={"sae": "mine"}) as theirs:
        with wandb_run("tests", name="an SAE", config=report.provenance) as run:
            assert run is theirs
            log_report(run, report)
        theirs.log({"afterwards": 1})
    assert [set(items) & {"sanity/l0", "afterwards"} for _, items in history(tmp_path / "runs")] == [{"sanity/l0"}, {"afterwards"}]
    assert summary(tmp_path / "runs")["config"]["sae"] == "mine"


# --- what is logged ------------------------------------------------------------------------------------------------------------


def with_table(report, rows):
    return replace(report, metrics=report.metrics | {"mine": MetricResult({"number": Estimate(1.0, 0.1, 9, "tokens")}, {"rows": rows})})


def test_none_beside_numbers_is_a_column_and_numbers_beside_text_are_an_error_that_costs_nothing_else(report):
    fine = loggable(with_table(report, [{"a": None}, {"a": 1}, {"a": 2.5}]), brief=True)
    assert fine["mine/rows"].data == [[None], [1], [2.5]]
    mixed = with_table(report, [{"a": 1}, {"a": "one"}])
    with pytest.raises(TypeError, match="incompatible types"):
        loggable(mixed)
    failed = {}
    entries = loggable(mixed, on_error=lambda what, error: failed.update({what: error}))
    assert list(failed) == ["drawing mine/rows for W&B"]
    assert set(loggable(report)) | {"mine/number", "mine/number_stderr"} == set(entries)


def test_a_figure_that_cannot_be_drawn_costs_the_figures_alone(report, tmp_path, monkeypatch, caplog):
    def broken(figure):
        raise RuntimeError("no ink")

    monkeypatch.setattr("sae_lens_metrics.views.figures.to_png", broken)
    fresh_wandb(tmp_path / "runs", monkeypatch)
    with wandb_run("tests", name="an SAE", config={}) as run:
        log_report(run, report)
    ((_, items),) = history(tmp_path / "runs")
    assert set(report.flat()) < set(items)
    assert "n2g/examples.path" in items
    assert [record.getMessage() for record in caplog.records if record.name == "sae_lens_metrics"] == [
        "drawing figures for W&B failed: RuntimeError: no ink"
    ]


def test_an_interrupt_while_drawing_is_no_drawing_error(report, monkeypatch):
    from sae_lens.training._interruption import InterruptedException

    def interrupted(figure):
        raise InterruptedException

    monkeypatch.setattr("sae_lens_metrics.views.figures.to_png", interrupted)
    with pytest.raises(InterruptedException):
        loggable(report, on_error=lambda what, error: None)


def test_during_training_long_tables_are_cut_evenly_and_there_are_no_figures(report):
    long = with_table(report, [{"latent": i, "f1": None if i % 3 else i / 32_768} for i in range(32_768)])
    entries = loggable(long, brief=True)
    shown = [row[0] for row in entries["mine/rows"].data]
    assert (len(shown), shown[0]) == (1_000, 0)
    assert set(np.diff(shown)) == {32, 33}
    assert not any("figure_" in key for key in entries)
    assert len(loggable(with_table(report, [{"latent": i} for i in range(1_500)]))["mine/rows"].data) == 1_500


def test_a_prefix_is_in_front_of_every_key(report):
    assert set(loggable(report, "topk/", brief=True)) == {f"topk/{key}" for key in loggable(report, brief=True)}


def test_drawing_leaves_matplotlib_as_it_was(report):
    import matplotlib

    before = dict(matplotlib.rcParams)
    assert any("figure_" in key for key in loggable(report))
    assert dict(matplotlib.rcParams) == before


# --- examples ------------------------------------------------------------------------------------------------------------------


def example(latent, tokens, activations=None, predictions=None, at=0):
    return FiringExample(latent, "top", at, tokens, activations or [1.0] * len(tokens), predictions or [0.0] * len(tokens))


def test_hostile_tokens_are_text(report, tmp_path, monkeypatch):
    rows = [{"latent": i, "f1": 0.5} for i in range(len(HOSTILE))]
    latents = [LatentExplanation(i, [ExplanationNGram([3], [token], False, 0.25)]) for i, token in enumerate(HOSTILE)]
    explanations = NGramExplanations(MatchingRules("released", [], None), latents)
    result = MetricResult({}, {"latents": rows}, examples=[example(0, HOSTILE), example(1, HOSTILE)], explanations=explanations)
    hostile = replace(report, metrics={"n2g": result})
    fresh_wandb(tmp_path / "runs", monkeypatch)
    with wandb_run("tests", name="an SAE", config={}) as run:
        log_report(run, hostile)
    ((_, items),) = history(tmp_path / "runs")
    table = json.loads(logged_file(tmp_path / "runs", items, "n2g/latents").read_text())
    assert table["columns"] == ["latent", "f1", "explanation", "values"]
    assert [row[2] for row in table["data"]] == [repr(token) for token in HOSTILE]
    assert {row[3] for row in table["data"]} == {"0.25"}
    html = logged_file(tmp_path / "runs", items, "n2g/examples").read_text(encoding="utf-8")
    parsed = Parsed(html)
    assert parsed.tags == {"html", "head", "meta", "title", "style", "body", "p", "section", "h2", "div", "span"}
    assert parsed.attributes == {"lang", "charset", "class", "style", "dir", "title"}
    for token in [HOSTILE[0], HOSTILE[1], HOSTILE[6], HOSTILE[7], r"\u202edlrow", r"a\x00b", r"\ud800", "👩🏽 🎉", "↵"]:
        assert token in parsed.text
    assert "x" * 59 + "…" in parsed.text
    assert "x" * 60 not in parsed.text


def test_activation_is_background_and_prediction_underlined():
    shown = example(3, ["one", "two", "three", "four"], [0.0, 2.0, 4.0, 0.0], [0.0, 0.0, 1.5, 0.5], at=2)
    html = examples_html(MetricResult({}, examples=[shown]))
    assert '<span style="--a:0.5;--p:0" title="fires 2, predicted 0">two</span>' in html
    assert '<span class="at" style="--a:1;--p:1" title="fires 4, predicted 1.5">three</span>' in html
    assert 'dir="ltr">one<span' in html  # nothing to say about a token: no mark
    assert '<span style="--a:0;--p:0.33" title="fires 0, predicted 0.5">four</span>' in html


def test_signed_latents_show_their_size():
    html = examples_html(MetricResult({}, examples=[example(0, ["a", "b"], [-4.0, 1.0])]))
    assert '--a:1;--p:0" title="fires -4' in html
    assert "--a:0.25" in html


def test_of_many_latents_some_are_shown_from_the_best_explained_to_the_worst():
    rows = [{"latent": i, "f1": None if i < 100 else i / 1000} for i in range(1000)]
    result = MetricResult({}, {"latents": rows}, examples=[example(i, [" a"]) for i in range(1000)])
    parsed = Parsed(examples_html(result))
    shown = [int(text.split()[0]) for text in parsed.text.split("Latent ")[1:]]
    assert len(shown) == 40
    assert (shown[0], shown[-1]) == (999, 99)  # the last ones have no score
    assert shown[:-4] == sorted(shown[:-4], reverse=True)
    assert "Shown: 40 of 1000 latents, spread over F1." in parsed.text


def test_few_latents_are_all_shown():
    parsed = Parsed(examples_html(MetricResult({}, examples=[example(i, [" a"]) for i in (4, 7)])))
    assert [text.split()[0] for text in parsed.text.split("Latent ")[1:]] == ["4", "7"]
    assert "Shown:" not in parsed.text


def test_a_result_file_gives_what_the_report_gave(report, path):
    assert set(loggable(Report.load(path), brief=True)) == set(loggable(report, brief=True))
