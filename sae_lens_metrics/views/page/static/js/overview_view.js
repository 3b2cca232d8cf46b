/** What was found, metric by metric. */
const overviewView = (() => {
  const SIDE_BY_SIDE = 4; // SAEs whose numbers stand in columns; more of them get a row each
  const { BETTER, told, direction, shown: value } = estimates;

  /** What has to be the same for numbers side by side to be about the SAEs alone. */
  const COMMON = {
    text: (report) => report.provenance.corpus?.tokens_sha256,
    model: (report) => report.provenance.sae?.model_name,
    "probe tasks": (report) => report.metrics.probe && JSON.stringify(report.provenance.config?.probe?.tasks),
  };

  async function render({ query }) {
    const all = saes.all();
    const reports = await saes.overviews();
    const ranked = saes.contents().ranked ? await store.value("leaderboard") : null;
    const one = all.length === 1;
    const page = h("div", { class: "view" });
    page.append(h("h1", {}, one ? h("bdi", {}, all[0].name) : all.length ? `${all.length} SAEs` : "Training runs"));
    if (one) page.append(about(reports[0]));
    const remarks = all.map((sae, i) => remarksOf(sae, reports[i])).filter(Boolean);
    if (remarks.length) page.append(h("section", { class: "remarks", "aria-label": "Warnings and failures" }, folded(remarks, all.length)));
    if (!all.length) page.append(h("p", {}, "There are training histories and no result: see ", h("a", { href: "#/explore" }, "Explore"), " and ", h("a", { href: "#/figures" }, "Figures"), "."));
    const compared = saes.contents().compared ? await store.value("comparison") : null;
    if (all.length) page.append(findings.section(all, reports, compared, ranked));
    if (all.length > 1) page.append(...differing(all, reports), ranked ? leaderboard.section(ranked, all, reports, query) : headlines(all, reports));
    if (compared) page.append(comparisonView.section(compared));
    for (const metric of Object.keys(saes.contents().guides)) {
      if (reports.some((report) => saes.results(report)[metric])) page.append(card(metric, all, reports));
    }
    return { title: "Overview", page };
  }

  /** One line on what was evaluated. */
  function about(report) {
    const { sae = {}, corpus = {}, created } = report.provenance;
    const facts = [
      sae.architecture,
      sae.d_sae ? `${format.number(sae.d_sae)} latents` : null,
      sae.hook_name,
      sae.model_name,
      corpus.tokens ? `${corpus.tokens.toLocaleString("en")} tokens` : null,
      created ? created.slice(0, 10) : null,
    ].filter(Boolean);
    return h("p", { class: "about" }, facts.map((fact) => h("span", {}, fact)));
  }

  /** Warnings and failed metrics; null if there are none. */
  function remarksOf(sae, report) {
    const items = [
      ...Object.entries(report.errors).map(([metric, text]) => h("li", { class: "failed" }, h("strong", {}, `Failed: ${metric}. `), text)),
      ...report.warnings.map((text) => h("li", { class: "warning" }, h("strong", {}, "Warning. "), text)),
    ];
    if (!items.length) return null;
    return [saes.all().length > 1 ? h("h2", { class: "small" }, h("bdi", {}, sae.name)) : null, h("ul", {}, items)];
  }

  /** Remarks on many SAEs would push the numbers off the screen. */
  function folded(remarks, all) {
    if (remarks.length <= SIDE_BY_SIDE) return remarks;
    return h("details", {}, h("summary", { class: "warning" }, `${remarks.length} of ${all} SAEs have warnings or failed metrics`), remarks);
  }

  /** A warning for each thing that is not the same for all SAEs side by side; a report that does not tell is passed over. */
  function differing(all, reports) {
    return Object.entries(COMMON).flatMap(([what, of]) => {
      const groups = new Map();
      reports.forEach((report, i) => {
        const value = of(report) ?? null;
        if (value !== null) groups.set(value, [...(groups.get(value) || []), all[i].name]);
      });
      if (groups.size < 2) return [];
      const each = [...groups.values()].map((names, i) => [i ? "; " : "", names.slice(0, SIDE_BY_SIDE).map((name, k) => [k ? ", " : "", h("bdi", {}, name)]), names.length > SIDE_BY_SIDE ? ` and ${names.length - SIDE_BY_SIDE} more` : ""]);
      return [h("p", { class: "warning" }, `These SAEs were not all evaluated on the same ${what}: `, each, ". What differs between them need not come from the SAEs.")];
    });
  }

  /** The main number of each metric, a row for each SAE. */
  function headlines(all, reports) {
    const shown = Object.entries(saes.contents().guides).filter(([metric, guide]) => reports.some((report) => estimate(report, metric, guide.headline)));
    const l0 = ["sanity", { headline: "l0" }];
    const columns = [...(reports.some((report) => estimate(report, "sanity", "l0")) ? [l0] : []), ...shown];
    const described = columns.map(([metric, guide]) => ({
      key: `${metric}/${guide.headline}`,
      label: metric === "sanity" ? format.words(guide.headline) : `${metric}: ${format.words(guide.headline)}`, // titles are too wide
      numeric: true,
      value: (row) => estimate(row.report, metric, guide.headline)?.value,
      cell: (row) => value(estimate(row.report, metric, guide.headline), told(guide, guide.headline, row.place)),
    }));
    const name = { key: "name", label: "SAE", value: (row) => row.sae.name, cell: (row) => h("a", { href: router.address(["config"], { sae: row.sae.name }) }, h("bdi", {}, row.sae.name)) };
    const kind = { key: "architecture", label: "Architecture", value: (row) => row.report.provenance.sae?.architecture, cell: (row) => row.report.provenance.sae?.architecture ?? "–" };
    const rows = all.map((sae, place) => ({ sae, place, report: reports[place] }));
    return h("section", { class: "card compact" }, h("h2", {}, "Side by side"), tables.sortable([name, kind, ...described], rows, { label: "Main numbers of each SAE" }));
  }

  const estimate = (report, metric, name) => saes.results(report)[metric]?.estimates[name];

  /** One metric: what it is, its main number against its baselines, the other numbers. */
  function card(metric, all, reports) {
    const guide = saes.guide(metric);
    const having = all.map((sae, place) => ({ sae, place, report: reports[place], result: saes.results(reports[place])[metric] })).filter((each) => each.result);
    const box = h("section", { class: "card metric", id: `metric-${metric}` }, h("h2", {}, guide.title, guide.paper ? h("span", { class: "paper" }, `paper, section ${guide.paper}`) : null));
    if (guide.meaning) box.append(h("p", { class: "meaning" }, guide.meaning));
    box.append(headline(guide, having));
    if (guide.trust) box.append(h("p", { class: "trust" }, h("strong", {}, "How far to trust it. "), guide.trust));
    box.append(...having.map(({ sae }) => controls(metric, sae, having.length > 1)).filter(Boolean));
    const names = numbersOf(guide, having);
    if (names.length) box.append(having.length > SIDE_BY_SIDE ? rowsTable(guide, names, having) : columnsTable(guide, names, having));
    box.append(...[absences(names, guide, having), everything(guide, having), notes(having)].filter(Boolean));
    return box;
  }

  const numbersOf = (guide, having) => Object.keys(guide.numbers).filter((name) => having.some(({ result }) => result.estimates[name]));

  /** The main number of each SAE as text and as a dot among its baselines. */
  function headline(guide, having) {
    const estimates = having.map(({ result }) => result.estimates[guide.headline]);
    const levels = having.map(({ result }) =>
      Object.entries(guide.baselines).flatMap(([name, label]) => (Number.isFinite(result.estimates[name]?.value) ? [[label, result.estimates[name].value]] : [])),
    );
    const place = marks.scale(estimates, levels.flat().map(([, value]) => value));
    const several = having.length > 1;
    const better = BETTER[guide.numbers[guide.headline]?.better];
    const what = h("p", { class: "what" }, h("strong", {}, format.words(guide.headline)), better ? `, ${better}` : null);
    const list = h("div", { class: "headlines" });
    having.forEach(({ sae, place: at }, i) => {
      const each = estimates[i];
      const figure = h("div", { class: "big" }, value(each, told(guide, guide.headline, at)));
      const caption = several ? h("div", { class: "whose" }, h("bdi", {}, sae.name)) : null;
      const picture = place && each && each.value !== null && (several || levels[i].length) ? marks.dot(each, place, levels[i]) : null;
      const absent = each && each.value === null ? h("div", { class: "reason" }, each.reason || "") : null;
      list.append(h("div", { class: "headline" }, caption, figure, picture, absent));
    });
    const names = [...new Set(levels.flat().map(([label]) => label))];
    return h("div", { class: "headline-box" }, what, list, names.length ? baselines(names, levels, having) : null);
  }

  /** What SAEs that are bad on purpose have for the main number, and whether that is as it must be; null if none was evaluated. */
  function controls(metric, sae, several) {
    const mine = sae.controls.filter((each) => each.metric === metric);
    if (!mine.length) return null;
    const items = mine.map((each) => {
      const found = h("span", { class: each.outcome === "not as expected" ? "flagged" : null }, each.in_words);
      return h("li", {}, h("span", { title: each.meaning }, each.title), " ", h("b", {}, value(each.estimate)), ": ", found);
    });
    return h("div", { class: "control-saes" }, h("p", {}, several ? ["Controls of ", h("bdi", {}, sae.name)] : "Controls, SAEs that are bad on purpose", ":"), h("ul", {}, items));
  }

  /** Baselines by name, with their values where there is one SAE. */
  function baselines(names, levels, having) {
    const value = (label) => having.length === 1 && levels[0].find(([name]) => name === label);
    const each = names.map((label) => h("span", { class: "level" }, label, value(label) ? h("b", {}, ` ${format.number(value(label)[1], 4)}`) : null));
    return h("p", { class: "levels" }, h("span", { class: "stroke", "aria-hidden": "true" }), "strokes are baselines: ", each);
  }

  /** What a number is called and means: "…" stands for the number above it, and needs that one. */
  const meaning = (guide, name) => guide.numbers[name]?.meaning || "";

  /** A row for each number and a column for each SAE. */
  function columnsTable(guide, names, having) {
    const several = having.length > 1;
    const head = h("tr", {}, h("th", { scope: "col" }, "Number"), having.map(({ sae }) => h("th", { scope: "col", class: "number" }, several ? h("bdi", {}, sae.name) : "Value ± standard error")), h("th", { scope: "col", class: "wide-only" }, "What it is"));
    const body = names.map((name) => {
      const label = h("th", { scope: "row" }, format.words(name), direction(guide.numbers[name].better));
      const cells = having.map(({ result, place }) => h("td", { class: "number" }, value(result.estimates[name], told(guide, name, place))));
      return h("tr", { class: name === guide.headline ? "main" : null }, label, cells, h("td", { class: "dim wide-only" }, meaning(guide, name)));
    });
    return dom.scrolling(`${guide.title}: numbers`, h("table", { class: "numbers" }, h("thead", {}, head), h("tbody", {}, body)));
  }

  /** A row for each SAE and a column for each number. */
  function rowsTable(guide, names, having) {
    const columns = names.map((name) => ({ key: name, label: format.words(name), title: meaning(guide, name), numeric: true, value: (row) => row.result.estimates[name]?.value, cell: (row) => value(row.result.estimates[name], told(guide, name, row.place)) }));
    const first = { key: "", label: "SAE", value: (row) => row.sae.name, cell: (row) => h("bdi", {}, row.sae.name) };
    return tables.sortable([first, ...columns], having, { label: `${guide.title}: numbers` });
  }

  /** Why numbers are absent, or have no error: each reason once, with its numbers. */
  function absences(names, guide, having) {
    const reasons = new Map();
    for (const { sae, result } of having) {
      for (const name of names) {
        const each = result.estimates[name];
        if (!each?.reason || each.value !== null) continue;
        const key = `${having.length > 1 ? `${sae.name}: ` : ""}${each.reason}`;
        reasons.set(key, [...(reasons.get(key) || []), format.words(name)]);
      }
    }
    if (!reasons.size) return null;
    return h("ul", { class: "reasons" }, [...reasons].map(([reason, which]) => h("li", {}, h("strong", {}, `Absent: ${which.join(", ")}. `), reason)));
  }

  /** All numbers, also those that the guide leaves out. */
  function everything(guide, having) {
    const names = [...new Set(having.flatMap(({ result }) => Object.keys(result.estimates)))];
    if (names.length <= numbersOf(guide, having).length) return null;
    const details = h("details", {}, h("summary", {}, `All ${names.length} numbers`));
    details.addEventListener("toggle", () => {
      if (details.children.length > 1) return;
      const rows = having.flatMap(({ sae, result }) => Object.entries(result.estimates).map(([name, each]) => ({ sae: sae.name, name, each })));
      const columns = [
        ...(having.length > 1 ? [{ key: "sae", label: "SAE", cell: (row) => h("bdi", {}, row.sae) }] : []),
        { key: "name", label: "Number", cell: (row) => format.words(row.name) },
        { key: "value", label: "Value ± standard error", numeric: true, value: (row) => row.each.value, cell: (row) => value(row.each) },
        { key: "n", label: "Over", value: (row) => row.each.n, cell: (row) => `${row.each.n} ${row.each.of}` },
        { key: "reason", label: "Remark", value: (row) => row.each.reason, cell: (row) => row.each.reason || "" },
      ];
      details.append(tables.sortable(columns, rows, { label: `${guide.title}: all numbers`, longest: 2000 }));
    });
    return details;
  }

  function notes(having) {
    const there = having.filter(({ result }) => result.notes.length);
    if (!there.length) return null;
    const same = there.length === having.length && there.every(({ result }) => String(result.notes) === String(there[0].result.notes));
    const lists = (same ? there.slice(0, 1) : there).map(({ sae, result }) => [
      same ? null : h("p", { class: "small" }, h("bdi", {}, sae.name)),
      h("ul", {}, result.notes.map((note) => h("li", {}, note))),
    ]);
    return h("details", {}, h("summary", {}, "Notes: choices and remarks that belong to these numbers"), lists);
  }

  return { render };
})();
