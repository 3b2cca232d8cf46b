"""The leaderboard in a browser: what a reader sees of many SAEs, and does with them."""

from dataclasses import replace
from importlib.resources import files
from itertools import combinations

import numpy as np
import pytest
from browser import PHONE, Reader
from ranked_reports import WORST_FIRST, ranked_reports
from report_data import HOSTILE, hostile_report, make_report
from slow import slow_but

from sae_lens_metrics.comparison.contenders import Contenders
from sae_lens_metrics.comparison.ranking import rankings
from sae_lens_metrics.functional.letter_groups import letter_groups, open_ranks
from sae_lens_metrics.results import Estimate, MetricResult
from sae_lens_metrics.views.page import page as pages
from sae_lens_metrics.views.page import write_report

ROWS = "table.board tbody tr"
RANKED = f"{ROWS}[data-place]"
F1 = "#/?by=n2g%2Ff1"


@pytest.fixture(scope="module")
def reports():
    return ranked_reports()


@pytest.fixture(scope="module")
def page(reports, tmp_path_factory):
    return write_report(reports, tmp_path_factory.mktemp("leaderboard") / "page.html")


@pytest.fixture(scope="module")
def shared(browser, page):
    """One page for all tests that only look at it in another way: to open it takes a second."""
    opened = Reader(browser, page)
    opened.open()
    yield opened.tab
    opened.context.close()
    assert opened.problems == []


_GO = """address => new Promise((done) => {
  if (location.hash === address) return done();
  addEventListener("hashchange", () => done(), { once: true });
  location.hash = address;
})"""


@pytest.fixture
def look(shared):
    """Goes to an address within the page."""

    def at(address):
        shared.evaluate(_GO, address)
        shared.wait_for_selector("#main:not([aria-busy])")
        return shared

    return at


@pytest.fixture(scope="module")
def scripts(browser):
    """What an expression gives that knows the page's scripts, without a page around them."""
    tab = browser.new_page()
    text = "\n".join((files(pages.__package__) / f"static/js/{name}.js").read_text() for name in pages.SCRIPTS if name != "main")
    yield lambda expression, given: tab.evaluate(f"(given) => {{ {text}\nreturn {expression}; }}", given)
    tab.close()


def names(tab):
    return tab.locator(f"{ROWS} .name bdi").all_inner_texts()


def ranks(tab):
    return tab.locator(f"{RANKED} .rank b").all_inner_texts()


def letters(tab):
    """The letters of each ranked row, by its name."""
    return {
        row.locator(".name bdi").inner_text(): {*"".join(row.locator(".lane").all_inner_texts()).strip()}
        for row in tab.locator(RANKED).all()
    }


def count(tab, text):
    tab.wait_for_function("text => document.querySelector('#leaderboard .count').textContent === text", arg=text)


def test_saes_stand_in_the_order_of_the_number_with_its_error_and_their_ties(look):
    tab = look(F1)
    assert names(tab) == list("abcdefhg"), "the best first, and what has no value last"
    shown = tab.locator(f"{RANKED} .chosen .value").all_inner_texts()
    assert shown == [f"{value:.3f} ± 0.010" for i, value in reversed([*enumerate(WORST_FIRST)]) if i != 1]
    assert tab.locator(f"{ROWS}.missing .reason").inner_text() == "it broke"
    assert ranks(tab) == list("1234567")
    left_open = [text.replace("\N{EN DASH}", " to ") for text in tab.locator(f"{RANKED} .open").all_inner_texts()]
    assert left_open == ["1 to 2", "1 to 2", "", "4 to 6", "4 to 6", "4 to 6", ""]
    tab.locator(f"{RANKED} a").nth(4).focus()
    assert tab.locator(f"{ROWS}.alike .name bdi").all_inner_texts() == ["d", "f"]
    link = tab.locator(f"{ROWS} .links a")
    assert (link.get_attribute("href"), link.get_attribute("rel")) == ("https://neuronpedia.org/tiny/1-made", "noopener noreferrer")
    said = tab.inner_text(".findings")
    assert "N2G explanations: a has the best F1, 0.610 ± 0.010; noise cannot tell it from b." in said
    assert "sae-lens-metrics compare" not in said


def test_a_letter_is_shared_by_those_that_noise_cannot_tell_apart(look, reports):
    """Beside what Python found, pair by pair."""
    contenders, places = Contenders(), list(reports)
    for report in reports.values():
        contenders.add(report)
    found = {each.number: each for each in rankings(contenders)}
    tab = look("#/")
    for number in ("n2g/f1", "sanity/explained_variance", "shrinkage/ratio", "probe/loss"):
        (pool,) = found[number].pools
        tied = {frozenset(places[pool.saes[i]] for i in pair) for group in pool.groups for pair in combinations(group, 2)}
        tab.select_option("#leaderboard-by", number)
        assert f"by={number.replace('/', '%2F')}" in tab.url or number == "probe/loss"
        shown = letters(tab)
        assert [*shown] == [places[place] for place in pool.saes]
        assert {frozenset(pair) for pair in combinations(shown, 2) if shown[pair[0]] & shown[pair[1]]} == tied, number


def test_filters_work_by_keyboard_on_table_and_figure_and_stay_in_the_address(reader, page):
    opened = reader(page)
    tab = opened.open(F1)
    count(tab, "8 SAEs")
    tab.locator("[data-field=architecture]", has_text="topk").focus()
    tab.keyboard.press("Space")
    count(tab, "4 of 8 SAEs")
    assert names(tab) == list("bdfh")
    assert ranks(tab) == list("1234"), "ranks are those of what is shown"
    assert letters(tab) == {"b": set(), "d": {"a"}, "f": {"a"}, "h": set()}
    tab.wait_for_selector(".against .plot.drawn .points path")
    assert tab.locator(".against .points path").count() == 4
    tab.locator("[data-field=layer]", has_text="1").focus()
    tab.keyboard.press("Enter")
    count(tab, "2 of 8 SAEs")
    tab = opened.open(tab.url[tab.url.index("#") :])
    count(tab, "2 of 8 SAEs")
    assert names(tab) == list("bf")
    assert tab.locator("[aria-pressed=true]").all_inner_texts() == ["1", "topk"]
    tab.get_by_role("button", name="Clear filters").click()
    count(tab, "8 SAEs")
    assert "architecture" not in tab.url
    tab.fill("#leaderboard-q", "STANDARD")
    count(tab, "4 of 8 SAEs")
    tab.fill("#leaderboard-q", "nothing is called so")
    count(tab, "0 of 8 SAEs")
    assert "No SAE is like that." in tab.inner_text("table.board")


def test_the_figure_is_the_number_against_l0(look):
    tab = look(F1)
    tab.wait_for_selector(".against .plot.drawn .points path")
    assert tab.locator(".against .points path").count() == 7
    assert tab.locator(".against .errorbar").count() >= 7
    drawn = tab.evaluate("document.querySelector('.against .plot').data.map((each) => [each.name, each.x, each.y, each.text[0]])")
    assert [name for name, *_ in drawn] == ["topk", "standard"], "a colour for each architecture"
    assert [*zip(*drawn[0][1:3], strict=True)] == [(2.0 + i, WORST_FIRST[i]) for i in (6, 4, 2, 0)]
    assert drawn[0][3].split("<br>") == ["b", "F1 0.600 ± 0.010", "L0 8.00 ± 0.10"]
    tab.select_option("#leaderboard-by", "sanity/l0")
    assert "This is L0 itself." in tab.inner_text(".against")


def test_what_stands_beside_ranked_saes(look):
    """Baselines and controls have no rank and are called so; main numbers of other metrics can be ranked by."""
    tab = look("#/?by=probe%2Floss")
    (baseline,) = tab.locator(f"{ROWS}.reference", has_text="random directions").all()
    assert "baseline" in baseline.inner_text()
    assert baseline.locator("b").count() == 0
    tab.locator("#leaderboard-baselines").uncheck()
    assert tab.locator(f"{ROWS}.reference").count() == 0
    tab.select_option("#leaderboard-by", "n2g/f1")
    tab.locator("#leaderboard-controls").check()
    control = tab.locator(f"{ROWS}.reference").inner_text().split()
    assert control == ["no", "rank", "f", "control:", "random", "0.350", "±", "0.010", "4.0", "1", "topk"]
    assert names(tab) == list("abcdeffhg")
    assert "controls=1" in tab.url
    tab.locator("#leaderboard-wide").check()
    tab.locator("table.board thead button", has_text="shrinkage: ratio").click()
    assert tab.input_value("#leaderboard-by") == "shrinkage/ratio"


def test_what_cannot_be_compared_is_ranked_apart(reader, tmp_path):
    reports = {f"{size} {i}": make_report(size, seed=i) for i, size in enumerate((8, 8, 16, 16))}
    tab = reader(write_report(reports, tmp_path / "page.html"), viewport=PHONE, color_scheme="dark").open(F1)
    assert {*tab.locator("tr.pool").all_inner_texts()} == {"8 latents", "16 latents"}
    assert ranks(tab) == ["1", "2", "1", "2"]
    assert "depends on the number of latents" in tab.inner_text("#leaderboard .warning")
    tab.select_option("#leaderboard-by", "shrinkage/ratio")
    assert tab.locator("tr.pool").count() == 0
    assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], "it fits a phone"
    assert tab.locator("#leaderboard :is(input, select)").evaluate_all("all => all.filter(each => !each.labels.length).length") == 0


@pytest.mark.parametrize("name", slow_but([*HOSTILE], "closing".__eq__))
def test_hostile_names_are_text_and_can_be_chosen(reader, tmp_path, name):
    text = HOSTILE[name]
    reports = {text: hostile_report(text), "other": hostile_report("a, b"), "third": hostile_report("%2C")}
    opened = reader(write_report(reports, tmp_path / "page.html"))
    tab = opened.open(f"#/?by={name}&architecture=%25E0%25A4%25A&layer=constructor")
    count(tab, "3 SAEs")
    chips = tab.locator("[data-field=architecture]")
    assert chips.count() == 3
    for place in range(3):
        chips.nth(place).click()
        count(tab, f"{place + 1} of 3 SAEs" if place < 2 else "3 SAEs")
        chosen = tab.evaluate("new URLSearchParams(location.hash.split('?')[1]).get('architecture').split(',').length")
        assert chosen == place + 1, "a comma in a value is none between values"
    chips.nth(0).click()
    tab = opened.open(tab.url[tab.url.index("#") :])
    count(tab, "2 of 3 SAEs")
    for number in tab.locator("#leaderboard-by option").evaluate_all("all => all.map(each => each.value)"):
        tab.evaluate(
            "number => { const by = document.getElementById('leaderboard-by'); by.value = number; by.dispatchEvent(new Event('change')) }",
            number,
        )
    assert tab.evaluate("[window.hacked, document.querySelectorAll('main :is(img, script, i)').length]") == [None, 0]


def test_rows_beyond_the_longest_are_counted_and_baselines_stay(scripts):
    made = """(() => {
      const estimate = (value) => ({ value, stderr: 1, n: 9, of: "documents" });
      const row = (place) => ({ place, rank: place + 1, worth: -place, estimate: estimate(place), units: null, sae: { name: "s" } });
      const beside = ([kind, at]) => ({ label: "it", kind, worth: -at, estimate: estimate(at) });
      const references = [["baseline", 8.5], ["baseline", 550.5], ["control: random", 570.5], ["baseline", 700]].map(beside);
      const pools = [{ rows: Array.from({ length: given }, (_, i) => row(i)), groups: [], references }];
      const table = leaderboardTable.table({ pools, absent: [], name: "f1", better: "lower", fields: [], others: [] });
      const special = Array.from(table.querySelectorAll("tbody tr[class]"), (each) => `${each.className}: ${each.textContent}`);
      return [...special, table.querySelectorAll("tbody tr").length];
    })()"""
    *said, count = scripts(made, 600)
    assert count == 500 + 3 + 2
    assert [text.split(":")[0] for text in said] == ["reference", "more", "reference", "more", "reference"]
    assert [said[i].split(" here")[0] for i in (1, 3)] == ["more: 51 more SAEs", "more: 49 more SAEs and 1 more control"]
    assert "choose fewer by the filters or the search above to see them." in said[1]
    assert scripts(made, 20)[-1] == 20 + 4


def test_open_ranks_are_those_of_python_whether_there_are_groups_or_not(scripts):
    """Also beside SAEs that were not tested, which may have any rank."""
    drawn = np.random.default_rng(0)
    places, untested = 14, {0, 5, 6, 13}
    apart = np.abs(np.subtract.outer(*[np.arange(places)] * 2)) > drawn.integers(2, 5)
    apart[[*untested]] = apart[:, [*untested]] = False
    inside = [place for place in range(places) if place not in untested]
    groups = [[end for each in group for end in [inside[each]] * 2] for group in letter_groups(apart[np.ix_(inside, inside)])]
    expected = [None if place in untested else list(ranks) for place, ranks in enumerate(open_ranks(apart))]
    found = "leaderboardRanks.pools(given, () => true)[0].rows.map((row) => (row.tested ? [row.best, row.worst] : null))"
    assert scripts(found, {"pools": [{"saes": [*range(places)], "groups": groups}]}) == expected
    assert scripts(found, {"pools": [{"saes": [*range(places)], "groups": [], "open": expected}]}) == expected


@pytest.mark.parametrize(
    ("pool", "said"),
    [
        ({"groups": [], "open": [[1, 1], [2, 3], [2, 3]]}, ""),
        ({"groups": [], "open": [[1, 2], [1, 3], [2, 3]]}, "; noise cannot tell it from 1 other"),
        ({"groups": [], "open": [[1, 3], [1, 2], None]}, "; noise cannot tell it from 1 other"),
        ({"groups": [], "open": [[1, 3], [1, 3], [1, 3]]}, "; noise cannot tell it from 2 others"),
        ({"groups": [[0, 0, 2, 2]]}, "; noise cannot tell it from c"),
        ({"groups": [[0, 1]]}, "; noise cannot tell it from b"),
        ({"groups": [[1, 2]]}, ""),
    ],
)
def test_how_many_noise_cannot_tell_from_the_best(scripts, pool, said):
    given = {"pools": [{"saes": [0, 1, 2], **pool}]}
    assert scripts("findings.alike(given, ['a', 'b', 'c'].map((name) => ({ name })))", given) == said


def test_of_many_values_several_can_be_chosen_by_keyboard(reader, tmp_path):
    """And SAEs each of which is alone in its set are not tested."""
    slim = replace(make_report(2, examples=0), metrics={"probe": MetricResult({"loss": Estimate(0.5, 0.01, 30, "tasks")})})
    reports = {f"s{i}": slim.with_provenance(sae={"d_sae": 1000 + i}) for i in range(10)}
    opened = reader(write_report(reports, tmp_path / "page.html"))
    tab = opened.open("#/?by=probe%2Floss&width=1002,1007")
    count(tab, "2 of 10 SAEs")
    chosen = "Array.from(document.getElementById('leaderboard-width').selectedOptions, (each) => each.text)"
    assert tab.evaluate(chosen) == ["1002", "1007"], "all that filters is shown"
    said = tab.inner_text("#leaderboard .said")
    assert "Each SAE is alone in its set, so that nothing was tested." in said
    assert "Tested:" not in said
    tab.get_by_role("button", name="Clear filters").click()
    count(tab, "10 SAEs")
    assert tab.evaluate(chosen) == []
    tab.locator("#leaderboard-width").focus()
    for key, shown in (("Home", 1), ("Shift+ArrowDown", 2), ("Shift+ArrowDown", 3)):
        tab.keyboard.press(key)
        count(tab, f"{shown} of 10 SAEs")
    assert tab.evaluate(chosen) == ["1000", "1001", "1002"]
    tab = opened.open(tab.url[tab.url.index("#") :])
    count(tab, "3 of 10 SAEs")
