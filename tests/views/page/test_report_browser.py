"""The page in a browser: what a reader sees and does."""

import json
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
from browser import LAPTOP, PHONE
from report_data import HOSTILE, LONG, hostile_report, make_history, make_report
from slow import slow_but

from sae_lens_metrics.comparison.audit import audit_reports
from sae_lens_metrics.comparison.comparison import compare_reports
from sae_lens_metrics.results import Estimate, ExplanationNGram, FiringExample, LatentExplanation, MetricResult, Report
from sae_lens_metrics.results.rules import Condition, LatentRules, Rule
from sae_lens_metrics.views.figures import Figure, Series
from sae_lens_metrics.views.firing_tokens import firing_tokens
from sae_lens_metrics.views.judged import Judged, Line
from sae_lens_metrics.views.page import write_report

ABSENT = "\N{EN DASH}"
VIEWS = ["#/", "#/figures", "#/explore", "#/latents", "#/latent/first/3", "#/config"]


@pytest.fixture(scope="module")
def reports() -> dict[str, Report]:
    return {"first": make_report(120), "second": make_report(120, seed=1, architecture="topk")}


@pytest.fixture(scope="module")
def page(tmp_path_factory, reports) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    return write_report(reports, path, histories={"run": make_history()}, comparison=compare_reports(reports))


def column(tab: Any, number: int) -> list[str]:
    return [cell.strip() for cell in tab.locator(f"table.latents tbody tr > :nth-child({number})").all_inner_texts()]


def count(tab: Any, text: str) -> None:
    tab.wait_for_function("text => document.querySelector('.count').textContent === text", arg=text)


# --- numbers -----------------------------------------------------------------------------------------------------------------


def test_the_numbers_shown_are_those_of_the_result(reader, page, reports):
    tab = reader(page).open()
    for metric, _ in reports["first"].results():
        for row in tab.locator(f"#metric-{metric} table.numbers tbody tr").all():
            name = row.locator("th").evaluate("cell => cell.firstChild.textContent").lower().replace(" ", "_")
            for place, report in enumerate(reports.values()):
                estimate = dict(report.results())[metric].estimates[name]
                shown = row.locator("td").nth(place).inner_text().replace("\u2212", "-")
                if estimate.value is None:
                    assert shown == ABSENT
                    assert estimate.reason in tab.inner_text(f"#metric-{metric}")
                    continue
                value, _, error = shown.partition(" ± ")
                assert float(value) == pytest.approx(estimate.value, abs=0.051 * (estimate.stderr or 0), rel=5e-4)
                assert (float(error) == pytest.approx(estimate.stderr, rel=0.06)) if estimate.stderr else not error
        assert tab.locator(f"#metric-{metric} .big").count() == 2


def test_many_saes_get_a_row_each(reader, tmp_path):
    many = {f"sae {i}": make_report(4, seed=i) for i in range(7)}
    opened = reader(write_report(many, tmp_path / "r.html"))
    tab = opened.open()
    table = tab.locator("#metric-n2g table")
    assert table.locator("tbody tr").count() == 7
    table.get_by_role("button", name="F1").click()
    best = max(many, key=lambda name: many[name].metrics["n2g"].estimates["f1"].value)
    assert table.locator("tbody tr").first.locator("td").first.inner_text() == best
    tab = opened.open("#/config?sae=sae%203")
    assert tab.locator("#config-sae").input_value() == "sae 3"
    assert str(2**63 - 25 + 3) in tab.inner_text("#main")


@pytest.mark.slow
def test_training_alone(reader, tmp_path):
    opened = reader(write_report({}, tmp_path / "r.html", histories={"run": make_history()}))
    for view in VIEWS:
        assert opened.open(view).inner_text("h1") != "This view cannot be shown"
    opened.open("#/explore").wait_for_selector(".plot.drawn .points path")


def test_a_comparison_says_what_differs(reader, page, reports):
    tab = reader(page).open()
    tested = [each for each in compare_reports(reports).differences if each.p is not None]
    assert tab.locator("#comparison table").first.locator("tbody tr").count() == len(tested)
    verdicts = tab.locator("#comparison table").first.locator(".verdict").all_inner_texts()
    assert sorted(text.lstrip("▲▼ ") for text in verdicts) == sorted(each.verdict for each in tested)


def test_saes_of_other_sizes_and_tasks_are_told_apart(reader, tmp_path):
    """What is not tested as sizes differ is among what is shown first, says where to look, and ranks nobody."""
    small, large = make_report(8), make_report(16, seed=1)
    for tasks, one in ((49, small), (61, large)):
        one.metrics["probe"].estimates["loss"] = Estimate(0.4, 0.01, tasks, "tasks")
        one.metrics["probe"].estimates["held_out_loss"] = Estimate(0.5 + tasks / 1000, 0.001, tasks, "tasks")
    reports = {"small": small, "large": large}
    tab = reader(write_report(reports, tmp_path / "page.html", comparison=compare_reports(reports))).open()
    shown = tab.locator("#comparison table").first.inner_text()
    assert "depends on d_sae (8 and 16), see probe/held_out_loss" in shown
    said = tab.locator(".findings").inner_text()
    assert "Probe loss: small has the best held-out loss" in said.replace("held out", "held-out")
    assert "N2G" not in said
    assert "probe/held_out_loss in place of probe/loss" in said
    numbers = tab.locator("#metric-probe .value").all_inner_texts()
    assert {"0.400 ± 0.010 n=49", "0.400 ± 0.010 n=61"} <= {*numbers}


def test_an_audit_says_how_noisy_numbers_are_and_what_they_tell_apart(reader, reports, tmp_path):
    """The made-up reports know no seed of text, so that pairs are unpaired; each is audited with three."""
    seeds = {seed: {name: make_report(120, seed=seed + i) for i, name in enumerate(reports)} for seed in (1, 2, 3)}
    audit = audit_reports(seeds, wanted_s={"n2g/f1": 1e-4}, overlap=0.25, notes=["a note"], failed=["an SAE: it broke"])
    tab = reader(write_report(reports, tmp_path / "report.html", audit=audit)).open("#/audit")
    assert "Audit" in tab.locator("#nav").inner_text()
    rows = {name: tab.locator(f"#audit-{name} tbody tr").count() for name in ("noise", "apart", "pairs", "needs")}
    assert rows == {"noise": len(audit.numbers), "apart": len(audit.separations), "pairs": len(audit.pairs), "needs": len(audit.needs)}
    verdicts = [text for text in tab.locator("#audit-noise .judged").all_inner_texts() if text]
    assert verdicts == [each.errors.verdict for each in audit.numbers if each.errors]
    said = tab.locator("#main").inner_text()
    for expected in ("seeds 1, 2, 3", "25 % of documents", "a note", "it broke", "wanted"):
        assert expected in said


@pytest.mark.parametrize(("view", "name", "said"), [("audit", "Audit", "No audit"), ("judged", "Verdicts", "No verdicts")])
def test_without_an_audit_or_verdicts_there_is_no_such_view(reader, page, view, name, said):
    tab = reader(page).open(f"#/{view}")
    assert said in tab.locator("#main").inner_text()
    assert name not in tab.locator("#nav").inner_text()


@pytest.mark.parametrize("groups", ["", "SAE"])
def test_verdicts_are_told_line_by_line_and_their_figures_come_first(reader, reports, tmp_path, groups):
    line = Line("25a: recall rises", ("per doubling", "0.016", "0.020 ± 0.004"), "shown", "good", "one <b>", "figure 25")
    other = Line("6b: sparser", ("per doubling", "-", "-"), "the opposite", "bad", "two", "figure 6")
    more = "where" if groups else ""
    judged = Judged(
        "Findings", "Of a grid.", "Of 2 findings 1 shown.", "finding", ("size", "paper", "here"), (line, other), ("a note",), groups, more
    )
    figure = Figure(
        "trends/25a", "Recall over k", "Figure 25a.", "k", "recall", [Series("n = 256", [1, 2], [0.2, 0.1], [0.01, 0.01], "line")]
    )
    tab = reader(write_report(reports, tmp_path / "report.html", judged=judged, figures=[figure])).open("#/judged")
    assert "Verdicts" in tab.locator("#nav").inner_text()
    rows = [row.split("\t") for row in tab.locator("#judged tbody tr").all_inner_texts()]
    first, last = (["one <b>"], ["figure 25"]) if groups else ([], [])
    assert rows[0] == [*first, line.what, *line.cells, "shown", *last]
    assert tab.locator("#judged tbody .better").all_inner_texts() == ["shown"]
    assert "a note" in tab.locator("#judged-notes").inner_text()
    tab = reader(tmp_path / "report.html").open("#/figures")
    assert tab.locator("#main h2").first.inner_text() == "Trends"


@pytest.mark.parametrize("form", ["file", "folder"])
def test_the_downloaded_result_is_the_result(reader, reports, tmp_path, page, form):
    if form == "folder":
        page = write_report(reports, tmp_path / "folder", folder=True)
    tab = reader(page).open("#/config")
    for place, report in enumerate(reports.values()):
        with tab.expect_download() as download:
            tab.locator("[data-download=json]").nth(place).click()
        got = Path(download.value.path()).read_text(encoding="utf-8")
        saved = report.save(tmp_path / "saved.json").read_text(encoding="utf-8")
        assert json.loads(got) == json.loads(saved)
    with tab.expect_download() as download:
        tab.locator("[data-download=csv]").first.click()
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert lines[0] == ",".join(reports["first"].to_frame().columns)
    assert len(lines) == 1 + len(reports["first"].to_frame())


def test_an_error_is_one_standard_error_long(reader, page, reports):
    tab = reader(page).open()
    first, second = (report.metrics["n2g"].estimates["f1"] for report in reports.values())
    at = [float(each.get_attribute("cx") or 0) for each in tab.locator("#metric-n2g .dot circle").all()]
    line = tab.locator("#metric-n2g .dot .error").first
    length = float(line.get_attribute("x2") or 0) - float(line.get_attribute("x1") or 0)
    assert length / (at[1] - at[0]) == pytest.approx(2 * first.stderr / (second.value - first.value))


def test_numbers_with_tiny_errors(reader, tmp_path):
    report = make_report(4)
    shown = {"ratio": (3.04e-8, 1.23e-9), "gamma": (0.12345678, 4.5e-7)}
    report.metrics["shrinkage"].estimates.update({name: Estimate(*both, 8, "documents") for name, both in shown.items()})
    tab = reader(write_report({"made": report}, tmp_path / "r.html")).open()
    texts = [text.replace("\u2212", "-") for text in tab.locator("#metric-shrinkage .numbers .value").all_inner_texts()]
    assert {"3.04e-8 ± 1.2e-9", "0.123 ± 4.5e-7"} <= {*texts}


def test_saes_that_were_evaluated_differently_are_said(reader, tmp_path):
    alike = {name: make_report(4, seed=seed) for seed, name in enumerate(("a", "b", "c"))}
    for report in alike.values():
        report.provenance["corpus"]["tokens_sha256"] = "0"
        report.provenance["sae"]["model_name"] = "gpt2"
        report.provenance["config"]["probe"] = {"tasks": ["generated"]}
    tab = reader(write_report(alike, tmp_path / "alike.html")).open()
    assert tab.locator("p.warning").count() == 0
    alike["b"].provenance["corpus"]["tokens_sha256"] = "1"
    alike["c"].provenance["config"]["probe"] = {"tasks": ["generated", "gpt2"]}
    tab = reader(write_report(alike, tmp_path / "other.html")).open()
    text, tasks = tab.locator("p.warning").all_inner_texts()
    assert text.startswith("These SAEs were not all evaluated on the same text: a, c; b.")
    assert tasks.startswith("These SAEs were not all evaluated on the same probe tasks: a, b; c.")


def test_a_part_that_two_want_at_once_reaches_both(reader, reports, tmp_path):
    tab = reader(write_report(reports, tmp_path / "folder", folder=True)).open("#/config")
    with tab.expect_download(timeout=5_000) as download:
        tab.evaluate("""() => {
          document.querySelector("[data-download=json]").click();
          window.dispatchEvent(new HashChangeEvent("hashchange")); // the view is made again, of the same part
        }""")
    assert json.loads(Path(download.value.path()).read_text(encoding="utf-8")) == reports["first"].to_dict()
    tab.wait_for_selector("#main:not([aria-busy])", timeout=5_000)


# --- latents -----------------------------------------------------------------------------------------------------------------


def test_sorting_by_mouse_and_keyboard(reader, page, reports):
    tab = reader(page).open("#/latents?sae=first&sort=latent")
    rows = reports["first"].metrics["n2g"].tables["latents"]
    heading = tab.locator("button[data-key=f1]")
    heading.click()
    best = sorted(rows, key=lambda row: -row["f1"])
    assert column(tab, 1) == [str(row["latent"]) for row in best[:50]]
    assert tab.locator("th", has=heading).get_attribute("aria-sort") == "descending"
    assert tab.evaluate("document.activeElement.dataset.key") == "f1"
    tab.keyboard.press("Enter")
    assert column(tab, 1) == [str(row["latent"]) for row in best[::-1][:50]]
    assert tab.locator("th", has=heading).get_attribute("aria-sort") == "ascending"
    assert "sort=f1" in tab.url
    tab.locator("button[data-key=precision]").click()
    tab.get_by_role("button", name="Last").click()
    assert column(tab, 5)[-1] == ABSENT, "absent values are last"
    tab.locator("button[data-key=precision]").click()
    tab.get_by_role("button", name="Last").click()
    assert column(tab, 5)[-1] == ABSENT, "in both directions"


def test_filtering_by_text_range_and_kind(reader, page, reports):
    tab = reader(page).open("#/latents")
    metrics = reports["first"].metrics
    rows = metrics["n2g"].tables["latents"]
    tasks = {row["latent"]: row["task"] for row in metrics["probe"].tables["tasks"]}
    tab.fill("#latents-q", "DEF")
    with_def = [each for each in metrics["n2g"].explanations.latents if "def" in each.to_text()]
    assert with_def
    count(tab, f"{len(with_def)} of 120 latents")
    assert "q=DEF" in tab.url
    tab.fill("#latents-q", "")
    tab.locator(".ranges summary").click()
    tab.fill("[data-range=f1-0]", "0.5")
    tab.fill("[data-range=density-1]", "0.01")
    count(tab, f"{sum(row['f1'] >= 0.5 and row['density'] <= 0.01 for row in rows)} of 120 latents")
    reopened = reader(page).open(tab.url[tab.url.index("#") :])
    count(reopened, f"{sum(row['f1'] >= 0.5 and row['density'] <= 0.01 for row in rows)} of 120 latents")
    tab = reader(page).open("#/latents?only=tasks&sort=latent")
    assert column(tab, 1) == [str(latent) for latent in sorted(tasks)]
    tab.fill("#latents-q", "python_code")
    count(tab, "1 of 120 latents")
    with tab.expect_download() as download:
        tab.get_by_role("button", name="Download as CSV").click()
    assert len(Path(download.value.path()).read_text(encoding="utf-8").splitlines()) == 2


def test_a_latent_has_its_own_address_and_the_back_button_works(reader, page, reports):
    tab = reader(page).open("#/latent/second/7")
    assert tab.inner_text("h1") == "Latent 7"
    mine = [each for each in reports["second"].metrics["n2g"].examples if each.latent == 7]
    assert tab.locator(".examples .example").count() == len(mine)
    assert tab.locator(".examples h3").all_inner_texts() == [
        "Largest activations (second half of the text)",
        "Random activations (first half)",
        "Rightly predicted (second half)",
    ]
    assert tab.locator(".example span.at").count() == len(mine)
    firing = sum(activation != 0 for each in mine for activation in each.activations)
    assert tab.locator(".example span.fires").count() == firing
    rank = 1 + sum(
        row["f1"] > reports["second"].metrics["n2g"].tables["latents"][7]["f1"]
        for row in reports["second"].metrics["n2g"].tables["latents"]
    )
    assert f"rank {rank} of 120" in tab.inner_text(".stats")
    assert tab.get_by_role("link", name="on Neuronpedia").get_attribute("href") == "https://neuronpedia.org/gpt2-small/2-res-jb/7"
    tab.get_by_role("link", name="Next").click()
    tab.wait_for_function("() => document.querySelector('h1').textContent === 'Latent 8'")
    assert "Raised" in tab.inner_text("#main")
    assert "summed over the tokens from there on, around the median" in tab.inner_text("#main")
    tab.go_back()
    tab.wait_for_function("() => document.querySelector('h1').textContent === 'Latent 7'")
    tab.locator("#random").click()
    tab.wait_for_function("() => document.querySelector('h1').textContent !== 'Latent 7'")


def test_a_latent_is_explained_in_the_order_of_use(reader, tmp_path):
    """What fires it, where it does, what it writes, what its absence does, its numbers, and what is like it."""
    report = make_report(24, directions=True)
    report.provenance["config"]["directions"] = {"against": "<i>other</i>"}
    n2g = report.metrics["n2g"]
    rare, common = (ExplanationNGram([i], [text], False, value) for i, text, value in ((1, " rare", 1.0), (2, " common", 2.0)))
    n2g.explanations.latents[4] = LatentExplanation(4, [rare, common])
    right = FiringExample(4, "predicted", 1, ["x", " common"], [0.0, 3.0], [0.0, 2.0])
    wrong = FiringExample(4, "predicted", 0, [" common", "y"], [0.0, 0.0], [2.0, 0.0])
    n2g.examples[:] = [*(each for each in n2g.examples if each.latent != 4 or each.kind == "top"), right, wrong]
    rules = [
        Rule(2, "def", Condition("after", 5, "\n"), [Condition("within", 6, "self", 16)], 3.0),
        *(Rule(10 + i, f"<b>{i}</b>", None, [], 1.0) for i in range(9)),
    ]
    of_others = [*LatentRules(3, rules[1:]).rows(), *LatentRules(4, rules).rows()]
    report.metrics["rules"] = MetricResult({}, {"rules": of_others})
    tab = reader(write_report({"made": report}, tmp_path / "r.html")).open("#/latent/made/4")
    assert tab.locator("#main h2").all_inner_texts() == [
        *("What fires it", "Examples", "What it writes", "Without it, these tokens become", "Among all latents"),
        "Nearest latents by the decoder",
    ]
    first = tab.locator(".rules li").first
    assert first.inner_text().split() == ["3", "def", "after", "newline,", "not", "within", "16", "tokens", "after", "self"]
    assert first.locator(".chip").all_inner_texts() == ["def", "self"]
    assert tab.locator(".rules li").nth(1).locator(".chip").inner_text() == "<b>0</b>"
    assert tab.locator(".rules + details summary").inner_text() == "2 more"
    assert "common" in tab.locator(".ngrams:not(.rules) li").first.inner_text()
    assert "\u00d72" in tab.locator(".ngrams:not(.rules) li").first.inner_text()
    headings = tab.locator(".examples h3").all_inner_texts()
    assert headings[-2:] == ["Wrongly predicted (second half)", "Rightly predicted (second half)"]
    text = tab.inner_text("#main")
    assert "import" in tab.locator("section:has(h2:text('What it writes'))").inner_text()
    assert "Best match in <i>other</i>: latent" in text
    tab.locator("section:has(h2:text('Nearest latents')) tbody a").first.click()
    tab.wait_for_function("() => document.querySelector('h1').textContent === 'Latent 5'")


def test_latents_are_found_by_the_token_that_fires_them(reader, tmp_path):
    report = make_report(40, directions=True)
    report.metrics["n2g"].examples.clear()
    latents = report.metrics["n2g"].explanations.latents
    only = ExplanationNGram([1], [" needle"], False, 1.0)
    behind = ExplanationNGram([1, 2], [" needle", "."], False, 1.0)
    latents[3], latents[5], latents[7] = (
        LatentExplanation(3, [only, replace(only, texts=["."])]),
        LatentExplanation(5, [only]),
        LatentExplanation(7, [behind]),
    )
    tab = reader(write_report({"made": report}, tmp_path / "r.html")).open("#/latents")
    tab.fill("#latents-token", " needle")
    count(tab, "3 of 40 latents")
    assert column(tab, 1) == ["5", "3", "7"]
    assert column(tab, 2) == ["100 %", "50 %", "100 % behind"]
    assert [(each.latent, each.on, each.after) for each in firing_tokens(report).find(" needle")] == [(5, 1, 0), (3, 0.5, 0), (7, 0, 1)]
    reopened = reader(tmp_path / "r.html").open(tab.url[tab.url.index("#") :])
    assert column(reopened, 1) == ["5", "3", "7"]
    reopened.fill("#latents-token", "NEEDLE")
    reopened.wait_for_function("() => document.querySelector('#main').textContent.includes('Taken for')")
    reopened.fill("#latents-token", "nowhere")
    count(reopened, "0 of 40 latents")
    reopened.fill("#latents-token", "")
    count(reopened, "40 of 40 latents")
    reopened.fill("#latents-q", "word17")
    count(reopened, "1 of 40 latents")


def test_a_latent_says_which_text_its_counts_are_of(reader, tmp_path):
    report = make_report(8)
    report.provenance["config"]["ablation"] = {"tokens": 16}
    row, effects = report.metrics["n2g"].tables["latents"][2], report.metrics["ablation"].tables["latents"][1]
    row.update(fired=1234, predicted=56)
    effects.update(ablations=7, tokens_affected=0.25)
    tab = reader(write_report({"made": report}, tmp_path / "r.html")).open("#/latent/made/2")
    text = tab.inner_text("#main")
    assert "fires on 1,234 and predicted on 56 tokens of the second half" in text
    assert "touches 25 % of the 16 tokens from there on" in text


@pytest.mark.parametrize("width", [1280, 390])
def test_the_ends_of_a_histogram_stand_apart(reader, page, width):
    tab = reader(page, viewport={"width": width, "height": 800}).open("#/latent/first/4")
    ends = tab.locator(".ends")
    assert ends.count() == 6
    for each in ends.all():
        boxes = each.locator("span").evaluate_all("all => all.map(span => span.getBoundingClientRect().toJSON())")
        assert boxes[1]["left"] - boxes[0]["right"] >= 8
        assert boxes[0]["top"] == boxes[1]["top"]
        assert all(box["top"] >= boxes[0]["bottom"] - 4 for box in boxes[2:])


@pytest.mark.parametrize("address", ["#/latent/third/3", "#/latents?sae=third", "#/config?sae=third"])
def test_an_sae_that_is_not_there_is_no_other_one(reader, page, address):
    opened = reader(page)
    opened.open(address)
    assert "There is no SAE third on this page." in opened.text()


@pytest.mark.parametrize("address", ["#/constructor", "#/__proto__/x", "#/nonsense"])
def test_an_unknown_view_says_so(reader, page, address):
    tab = reader(page).open(address)
    assert tab.inner_text("h1") == "Nothing here"
    assert f"no view at the address {address}" in tab.inner_text("#main")


def test_it_opens_with_findings(reader, page):
    tab = reader(page).open("#/")
    assert tab.locator(".findings li").count() >= 3
    said = tab.inner_text(".findings")
    assert "has the best" in said
    assert "second is better than first on" in said


def test_the_latents_table_begins_with_the_best_explained_and_says_how_to_read_it(reader, page):
    tab = reader(page).open("#/latents")
    headings = tab.locator("table.latents thead th").all_inner_texts()
    place = next(i for i, text in enumerate(headings, start=1) if text.startswith("F1"))
    shown = [float(text) for text in column(tab, place) if text != ABSENT]
    assert len(shown) > 3
    assert shown == sorted(shown, reverse=True)
    assert "sort=" not in tab.url
    assert "the start of a document" in tab.inner_text(".legend")


def test_addresses_of_nothing(reader, page):
    opened = reader(page)
    for address in (
        "#/latent/first/99999",
        "#/latent/first/x",
        "#/latent",
        "#/nonsense",
        "#/latents?sort=-nope&page=99&f1=a..b",
        "#/explore?x=__proto__&by=constructor",
        "#/latent/%E0%A4%A/1",
    ):
        opened.open(address)
        assert opened.tab.inner_text("h1") != "This view cannot be shown"


def test_examples_of_older_results(reader, tmp_path):
    data = make_report(4, examples=0).to_dict()
    data["format_version"] = "1.1"
    data["metrics"]["n2g"]["tables"]["examples"] = [{"latent": 1, "kind": "recall", "text": "a«\n»c", "activation": 1.25, "predicted": 0.5}]
    tab = reader(write_report({"old": Report.from_dict(data)}, tmp_path / "r.html")).open("#/latent/old/1")
    assert tab.inner_text(".examples .example") == "a↵c"
    assert tab.inner_text(".example .at") == "↵"
    assert "1.25" in tab.inner_text(".examples")


# --- the whole page ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "viewport"), slow_but(product(("light", "dark"), (LAPTOP, PHONE)), [("light", LAPTOP), ("dark", PHONE)].__contains__)
)
def test_every_view_fits_and_is_silent(reader, page, viewport, scheme):
    opened = reader(page, viewport=viewport, color_scheme=scheme)
    for view in VIEWS:
        tab = opened.open(view)
        assert tab.evaluate("document.documentElement.scrollWidth") <= viewport["width"], view
        levels = [int(tag[1]) for tag in tab.locator("#main :is(h1,h2,h3,h4)").evaluate_all("all => all.map(each => each.tagName)")]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels)), view


def test_figures_are_drawn_when_they_come_into_view(reader, page):
    tab = reader(page).open("#/figures")
    tab.wait_for_selector(".plot.drawn svg.main-svg")
    plots = tab.locator(".plot")
    assert tab.locator(".plot.drawn").count() < plots.count(), "not all at once"
    plots.last.scroll_into_view_if_needed()
    tab.wait_for_function("() => [...document.querySelectorAll('.plot')].at(-1).classList.contains('drawn')")


def test_exploring_training(reader, page):
    tab = reader(page).open("#/explore?from=training&x=step&y=sanity/l0")
    tab.wait_for_selector(".plot.drawn .points path")
    assert tab.locator(".plot .points path").count() == 3
    assert tab.locator("table tbody tr").count() == 3
    tab.select_option("#explore-y", "sanity/explained_variance")
    tab.wait_for_function("() => location.hash.includes('explained_variance')")
    tab.focus("#explore-logx")
    tab.keyboard.press("Space")
    tab.wait_for_function("() => location.hash.includes('logx=1')")
    tab.wait_for_function("() => document.activeElement.id === 'explore-logx' && document.activeElement.checked")


@pytest.mark.slow
def test_runs_are_never_joined_by_a_line(reader, tmp_path):
    opened = reader(write_report({}, tmp_path / "r.html", histories={"one": make_history(), "other": make_history(4)}))
    for by in ("none", "run"):
        tab = opened.open(f"#/explore?from=training&by={by}")
        tab.wait_for_selector(".plot.drawn .points path")
        assert tab.locator(".scatterlayer .trace").count() == 2
        assert tab.locator(".scatterlayer .trace").first.locator(".points path").count() == 3
    assert len({*tab.locator(".scatterlayer .trace .js-line").evaluate_all("all => all.map(each => each.style.stroke)")}) == 2
    tab = opened.open("#/explore?from=training&by=architecture")
    tab.wait_for_selector(".plot.drawn .points path")
    assert tab.input_value("#explore-by") == "run"
    assert tab.locator(".legend .traces").count() == 2


def test_the_theme_follows_the_system_until_it_is_chosen_and_is_remembered(reader, page):
    opened = reader(page, color_scheme="dark")
    tab = opened.open()
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
    tab.click("#theme")
    assert tab.evaluate("document.documentElement.dataset.theme") == "light"
    tab = opened.open("#/config")
    assert tab.evaluate("document.documentElement.dataset.theme") == "light"


def test_without_storage_the_theme_can_be_switched_all_the_same(reader, page):
    opened = reader(page, color_scheme="light")
    opened.tab.add_init_script("Object.defineProperty(window, 'localStorage', { get() { throw new Error('no storage') } })")
    tab = opened.open()
    tab.click("#theme")
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"


_CONTRAST = """() => {
  const channels = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = (rgb) => rgb.slice(0, 3).map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = channels(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const bad = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest(".plot, svg, .example, :disabled, script, .hidden, .skip")) continue;
    const [a, b] = [light(channels(getComputedStyle(element).color)), light(behind(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) bad.push(`${element.tagName}.${element.className} "${element.textContent.slice(0, 30)}" ${contrast.toFixed(2)}`);
  }
  return bad;
}"""


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(reader, page, scheme):
    opened = reader(page, color_scheme=scheme)
    for view in VIEWS:
        assert opened.open(view).evaluate(_CONTRAST) == [], view


def test_controls_have_names_and_the_keyboard_reaches_the_content(reader, page):
    opened = reader(page)
    for view in VIEWS:
        tab = opened.open(view)
        unnamed = tab.locator("input, select").evaluate_all(
            "all => all.filter(each => !each.labels.length && !each.getAttribute('aria-label')).map(each => each.outerHTML)"
        )
        assert unnamed == [], view
        assert (
            tab.locator("button").evaluate_all(
                "all => all.filter(each => !each.textContent.trim() && !each.getAttribute('aria-label')).length"
            )
            == 0
        )
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.id") == "skip"
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "main"
    assert tab.evaluate("document.documentElement.lang") == "en"


@pytest.mark.parametrize("name", slow_but([*HOSTILE, "long"], ("closing", "long").__contains__))
def test_hostile_text_is_text(reader, tmp_path, name):
    text = HOSTILE.get(name, LONG)
    opened = reader(write_report({text: hostile_report(text), "other": hostile_report(text)}, tmp_path / "r.html"))
    opened.open()
    links = opened.tab.locator("table a").evaluate_all("all => all.map(each => each.hash)")
    for view in ("#/", "#/latents", "#/config", links[0], links[0].replace("#/config?sae=", "#/latent/") + "/0", "#/latent/other/1"):
        tab = opened.open(view)
        assert tab.inner_text("h1") != "This view cannot be shown", view
        assert tab.evaluate("[window.hacked, document.querySelectorAll('main :is(img, script, i)').length]") == [
            None,
            0,
        ], view
        assert tab.evaluate("document.documentElement.scrollWidth") <= LAPTOP["width"], view
        assert not {"\x00", "\u202e", "\x1b"} & {*tab.evaluate("document.getElementById('main').textContent")}
    assert tab.inner_text("h1") == "Latent 1"
    if name == "closing":
        assert text in opened.text()
    tab = opened.open("#/config")
    with tab.expect_download() as download:
        tab.locator("[data-download=json]").last.click()
    assert json.loads(Path(download.value.path()).read_text(encoding="utf-8")) == hostile_report(text).to_dict()


def test_a_damaged_part_is_said_and_leaves_the_other_views(reader, page, tmp_path):
    text = page.read_text(encoding="utf-8")
    start = text.index('id="part-histories">') + len('id="part-histories">')
    broken = tmp_path / "broken.html"
    broken.write_text(text[:start] + "AAAA" + text[text.index("</script>", start) :], encoding="utf-8")
    opened = reader(broken)
    opened.open("#/explore")
    assert opened.tab.inner_text("h1") == "This view cannot be shown"
    opened.problems.clear()
    assert opened.open("#/").inner_text("h1") == "2 SAEs"


def test_a_folder_opens_from_disk_and_loads_what_is_looked_at(reader, reports, tmp_path):
    opened = reader(write_report(reports, tmp_path / "folder", folder=True))
    loaded = []
    opened.context.on("request", lambda request: loaded.append(request.url.rsplit("/", 1)[-1]))
    opened.open("#/latents")
    assert "sae-0-table-2-0.js" in loaded
    assert "plotly.js" not in loaded
    opened.open("#/latent/first/3")
    assert "sae-0-examples-2-0.js" in loaded
    opened.open("#/figures").wait_for_selector(".plot.drawn")
    assert "plotly.js" in loaded
    (tmp_path / "folder" / "data" / "figures.js").unlink()
    opened.open("#/figures")
    assert "data/figures.js is missing" in opened.text()
    opened.problems.clear()


@pytest.mark.parametrize("own", [0.0, 0.05], ids=["in common", "of its own"])
def test_findings_say_what_the_comparison_found(reader, tmp_path, own):
    """A paired test sees a difference that is within two standard errors, where what moves both numbers cancels."""
    common = [0.03, -0.03] * 5
    reports = {"first": make_report(8), "second": make_report(8)}
    for sign, (value, report) in zip((1, -1), ((0.50, reports["first"]), (0.45, reports["second"])), strict=True):
        report.provenance["corpus"]["tokens_sha256"] = "the same text"
        influence = [each + sign * (own + 1e-4) * (1 if i % 3 else -2) for i, each in enumerate(common)]
        stderr = (10 / 9 * sum(each**2 for each in influence)) ** 0.5
        report.metrics["ablation"].estimates["sparsity"] = Estimate(value, stderr, 10, "documents", influence=influence)
    comparison = compare_reports(reports)
    (found,) = (each for each in comparison.differences if each.number == "ablation/sparsity")
    assert found.paired
    assert (found.verdict == "lower") == (own == 0)
    said = reader(write_report(reports, tmp_path / "page.html", comparison=comparison)).open("#/").inner_text(".findings")
    (line,) = (each for each in said.splitlines() if "second has the best sparsity" in each)
    assert "within two standard errors" not in line
    assert ("first differs by no more than noise" in line) == (own > 0)
