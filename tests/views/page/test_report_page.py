"""What is in the page, without a browser."""

import json
import os
import re
from base64 import b64encode
from collections import Counter
from dataclasses import replace
from hashlib import sha256
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from page_parts import parts_of
from plotly.offline import get_plotlyjs
from report_data import HOSTILE, hostile_report, make_history, make_report

from sae_lens_metrics.comparison.audit import audit_reports
from sae_lens_metrics.comparison.comparison import compare_reports
from sae_lens_metrics.errors import ResultError
from sae_lens_metrics.results import Estimate, FiringExample, MetricResult, Report
from sae_lens_metrics.views.page import write_report
from sae_lens_metrics.views.page.parts import Part, decode, encode


def rebuilt(parts: dict[str, str], key: str) -> dict:
    """The result file's content, put together by other code than the page's own."""
    (sae,) = [sae for sae in json.loads(parts["contents"])["saes"] if sae["key"] == key]
    whole = json.loads(parts[f"{key}-overview"])
    results = {"sanity": whole["sanity"], **whole["metrics"]}
    for name, influence in json.loads(parts[f"{key}-influences"]).items():
        metric, number = name.split("/", 1)
        estimate = results[metric]["estimates"][number]
        estimate["influence"] = influence["own"]
        if estimate["repeated"] is not None:
            estimate["repeated"]["influence"] = influence["repeated"]
    for table in sae["tables"]:
        value = json.loads(parts[table["part"]])
        columns = value.get("columns")
        rows = value["rows"] if columns is None else [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        results[table["metric"]]["tables"][table["name"]] = rows
    for metric, part in sae["explanations"].items():
        value = json.loads(parts[part])
        results[metric]["explanations"] = {
            "rules": value["rules"],
            "latents": [
                {"latent": latent, "ngrams": [whole_ngram(ngram, value["words"]) for ngram in ngrams]}
                for latent, ngrams in zip(value["latent"], value["ngrams"], strict=True)
            ],
        }
    for metric, part in sae["effects"].items():
        value = json.loads(parts[part])
        sides = {side: [whole_changes(each, value["words"]) for each in value[side]] for side in ("raised", "lowered")}
        latents = zip(value["latent"], *sides.values(), strict=True)
        results[metric]["effects"] = [dict(zip(("latent", *sides), each, strict=True)) for each in latents]
    for metric, where in sae["examples"].items():
        found = {}
        for number in where["parts"]:
            value = json.loads(parts[f"{where['prefix']}-{number}"])
            rows = [dict(zip(value["columns"], row, strict=True)) for row in zip(*value["columns"].values(), strict=True)]
            assert {row["latent"] // where["size"] for row in rows} == {number}
            found.update(zip(value["places"], rows, strict=True))
        results[metric]["examples"] = [found[i] for i in range(len(found))]
    return whole


def whole_ngram(ngram: list, words: list) -> dict:
    value, at_start, *numbers = ngram
    ids, texts = ([None if number < 0 else words[number][i] for number in numbers] for i in (0, 1))
    return {"tokens": ids, "texts": texts, "at_start": bool(at_start), "value": value}


def whole_changes(numbers: list, words: list) -> list[dict]:
    return [{"token": words[i][0], "text": words[i][1], "by": by} for i, by in zip(numbers[::2], numbers[1::2], strict=True)]


@pytest.mark.parametrize("text", ["", "plain", "</script>", "\x00", "é👩‍🔬" * 1000])
def test_a_part_gives_back_its_text(text):
    assert decode(encode(text)) == text
    assert re.fullmatch(r"[A-Za-z0-9+/=]+", encode(text))


def test_a_part_has_a_name_that_is_safe_in_an_attribute_and_a_path():
    with pytest.raises(ValueError, match="no name"):
        Part("../up", "")
    with pytest.raises(ValueError, match="Out of range float"):
        Part.of("numbers", float("nan"))


@pytest.mark.parametrize("latents", [1, 300, 600])
def test_the_page_holds_exactly_what_the_result_file_holds(tmp_path, latents):
    reports = {"a": make_report(latents), "b": make_report(latents, seed=1)}
    parts = parts_of(write_report(reports, tmp_path / "report.html"))
    for key, (name, report) in zip(("sae-0", "sae-1"), reports.items(), strict=True):
        assert rebuilt(parts, key) == json.loads(report.save(tmp_path / f"{name}.json").read_text(encoding="utf-8"))


def test_uneven_tables_and_examples_in_any_order_are_kept(tmp_path):
    examples = [FiringExample(latent, "top", 0, ["x"], [1.0], [0.0]) for latent in (700, 3, 700, 256, 0)]
    odd = MetricResult({}, {"uneven": [{"a": 1}, {"b": None}], "empty": [], "same": [{"a": 1}, {"a": 2}]}, examples=examples)
    report = replace(make_report(2), metrics={"odd": odd})
    parts = parts_of(write_report({"a": report}, tmp_path / "report.html"))
    assert rebuilt(parts, "sae-0") == report.to_dict()


def test_the_overview_is_small_whatever_the_number_of_latents(tmp_path):
    few, many = (parts_of(write_report({"a": make_report(n)}, tmp_path / f"{n}.html"))["sae-0-overview"] for n in (10, 1000))
    assert abs(len(few) - len(many)) < 200


def test_a_thousand_latents_take_less_than_twenty_megabytes(tmp_path):
    assert write_report({"a": make_report(1024)}, tmp_path / "report.html").stat().st_size < 20e6


@pytest.mark.parametrize("name", HOSTILE)
def test_text_of_the_data_adds_no_element_to_the_page(tmp_path, name):
    def elements(text: str) -> Counter[str]:
        parser = HTMLParser()
        found = Counter()
        parser.handle_starttag = lambda tag, _: found.update([tag])  # type: ignore[method-assign]
        parser.feed(write_report({text: hostile_report(text)}, tmp_path / "report.html", title=text).read_text(encoding="utf-8"))
        return found

    assert elements(HOSTILE[name]) == elements("plain")


@pytest.mark.parametrize("folder", [False, True])
def test_the_policy_lets_in_no_request_and_only_these_scripts(tmp_path, folder):
    page = write_report({"a": make_report(2)}, tmp_path / "report.html", folder=folder).read_text(encoding="utf-8")
    (content,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    policy = dict(each.strip().split(" ", 1) for each in unescape(content).split(";"))
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = {f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in (script, get_plotlyjs())}
    assert policy == {
        "default-src": "'none'",
        "script-src": policy["script-src"],
        "style-src": "'unsafe-inline'",
        "img-src": "data: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "object-src": "'none'",
    }
    assert {*policy["script-src"].split()} == hashes | ({"'self'", "file:"} if folder else set())


def test_without_html_in_scripts():
    static = Path(__file__).parents[3] / "sae_lens_metrics" / "views" / "page" / "static" / "js"
    scripts = {file.stem: file.read_text(encoding="utf-8") for file in static.glob("*.js")}
    for name, script in scripts.items():
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|</script", script), name


def test_every_script_is_part_of_the_page(tmp_path):
    from sae_lens_metrics.views.page import page

    static = Path(page.__file__).parent / "static"
    assert sorted(page.SCRIPTS) == sorted(file.stem for file in (static / "js").glob("*.js"))
    assert sorted(page.STYLES) == sorted(file.name for file in static.glob("*.css"))


def test_the_same_reports_give_the_same_file(tmp_path):
    one, two = (write_report({"a": make_report(3)}, tmp_path / name).read_bytes() for name in ("1.html", "2.html"))
    assert one == two


def test_a_folder_holds_the_same_parts_in_files(tmp_path):
    reports, histories = {"a": make_report(300)}, {"run": make_history()}
    page = write_report(reports, tmp_path / "folder", histories=histories, folder=True)
    assert page == tmp_path / "folder" / "index.html"
    written = {}
    for file in (tmp_path / "folder" / "data").iterdir():
        name, text = re.fullmatch(r'saeLensMetrics\.receive\("([a-z0-9-]+)","([A-Za-z0-9+/=]*)"\)', file.read_text()).groups()
        assert file.name == f"{name}.js"
        written[name] = decode(text)
    single = parts_of(write_report(reports, tmp_path / "report.html", histories=histories))
    assert parts_of(page) == {"contents": single.pop("contents")}
    assert written == single


def contents_of(page):
    """A page of several files: what it is made of."""
    (beside,) = re.findall('data-parts="(.*?)"', page.read_text())
    return page.read_bytes(), {file.name: file.read_bytes() for file in (page.parent / beside).glob("*.js")}


@pytest.mark.parametrize("writing", [0, 3, -1])
def test_a_folder_holds_the_old_page_or_the_new_one(tmp_path, monkeypatch, writing):
    page = write_report({"a": make_report(2)}, tmp_path, folder=True)
    (page.parent / "data" / "own.js").write_text("something else")
    old, replace_file, written = contents_of(page), os.replace, []

    def replace_or_fail(source, target):
        written.append(target)
        if Path(target).name == "index.html" if writing < 0 else len(written) > writing:
            raise OSError("disk full")
        replace_file(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", replace_or_fail)
        with pytest.raises(OSError, match="disk full"):
            write_report({"b": make_report(3)}, tmp_path, folder=True)
    assert contents_of(page) == old
    new = contents_of(write_report({"b": make_report(3)}, tmp_path / "elsewhere", folder=True))
    for _ in range(2):
        write_report({"b": make_report(3)}, tmp_path, folder=True)
    assert {name: text for name, text in contents_of(page)[1].items() if name != "own.js"} == new[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "elsewhere", "index.html"]
    assert (page.parent / "data" / "own.js").read_text() == "something else"


def test_a_page_that_cannot_be_made_leaves_the_old_one(tmp_path, monkeypatch):
    page = write_report({"a": make_report(2)}, tmp_path / "report.html")
    before = page.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_report({"b": make_report(2)}, page)
    assert page.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_nothing_to_report():
    with pytest.raises(ResultError, match="at least one"):
        write_report({}, "report.html")


def test_a_page_knows_what_saes_are_ranked_by_and_where_units_must_be_told(tmp_path):
    small, large = make_report(4), make_report(8, seed=1)
    for one in (small, large):
        one.metrics["probe"].estimates["held_out_loss"] = Estimate(0.5, 0.1, len(one.metrics["n2g"].tables["latents"]), "tasks")
    guides = json.loads(parts_of(write_report({"a": small, "b": large}, tmp_path / "report.html"))["contents"])["guides"]
    assert guides["probe"]["ranked_by"] == "held_out_loss"
    assert guides["shrinkage"]["ranked_by"] == "ratio"
    assert guides["n2g"]["ranked_by"] is None
    assert guides["probe"]["units"]["held_out_loss"] == [4, 8]
    assert guides["probe"]["units"]["loss"] == [None, None]


def test_a_comparison_and_figures_come_with_it(tmp_path):
    reports = {"a": make_report(4), "b": make_report(4, seed=1)}
    comparison = compare_reports(reports)
    parts = parts_of(write_report(reports, tmp_path / "report.html", histories={"run": make_history()}, comparison=comparison))
    assert json.loads(parts["comparison"]) == json.loads(json.dumps(comparison.to_dict()))
    figures = json.loads(parts["figures"])
    assert {figure["name"].split("/")[0] for figure in figures} >= {"probe", "training"}
    assert all(figure["plotly"]["data"] for figure in figures)


def test_an_audit_comes_with_it(tmp_path):
    audit = audit_reports({seed: {name: make_report(4, seed=seed + i) for i, name in enumerate("ab")} for seed in (1, 2, 3)})
    parts = parts_of(write_report({"a": make_report(4)}, tmp_path / "report.html", audit=audit))
    assert json.loads(parts["audit"]) == json.loads(json.dumps(audit.to_dict()))
    assert json.loads(parts["contents"])["audited"]
    alone = parts_of(write_report({"a": make_report(4)}, tmp_path / "report.html"))
    assert (json.loads(alone["audit"]), json.loads(alone["contents"])["audited"]) == (None, False)


def test_a_result_of_an_older_format(tmp_path):
    data = make_report(4, examples=0).to_dict()
    data["format_version"] = "1.1"
    for result in (data["sanity"], *data["metrics"].values()):
        del result["examples"]
    data["metrics"]["n2g"]["tables"]["examples"] = [{"latent": 1, "kind": "recall", "text": "a« b»c", "activation": 1.0, "predicted": 0.5}]
    report = Report.from_dict(data)
    parts = parts_of(write_report({"old": report}, tmp_path / "report.html"))
    assert rebuilt(parts, "sae-0") == report.to_dict()
