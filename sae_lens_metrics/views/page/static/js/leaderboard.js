/** Many SAEs ranked by any number: with its error, what noise cannot tell apart, filters, and the number against L0. */
const leaderboard = (() => {
  const L0 = "sanity/l0";
  const VALUES = 3; // of a baseline: if it has more of them, it belongs to each SAE alone

  function section(ranked, all, reports, query) {
    const names = Object.keys(ranked.numbers);
    const abouts = ranked.saes;
    const chosen = names.includes(query.by) ? query.by : first(ranked);
    const state = { by: chosen, baselines: query.baselines !== "0", controls: query.controls === "1", wide: query.wide === "1", ...leaderboardFilters.read(query, abouts) };
    const has = { controls: reports.some((report) => Object.keys(report.controls || {}).length), baselines: names.some((name) => Object.keys(ranked.numbers[name].baselines).length) };
    const count = h("p", { class: "count", role: "status" });
    const said = h("div", { class: "said" });
    const table = h("div", { class: "ranks" });
    const plot = h("div", { class: "against" });
    const box = h("div", { class: "beside" }, table, h("aside", { "aria-label": "The number against L0" }, h("h3", {}, "Against L0"), plot));
    const number = numbers(ranked, state.by, (name) => ((state.by = name), show()));
    const clear = h("button", { type: "button", class: "quiet clear", onclick: () => cleared() }, "Clear filters");
    const filters = h("div", { class: "controls filters" });

    function show() {
      router.note([], { ...leaderboardFilters.written(state), by: state.by === first(ranked) ? "" : state.by, baselines: state.baselines ? "" : "0", controls: state.controls ? "1" : "", wide: state.wide ? "1" : "" });
      const shown = (place) => leaderboardFilters.fits(state, all[place].name, abouts[place]);
      const board = made(ranked, all, reports, state, shown, (name) => ((number.value = name), (state.by = name), show()));
      const there = all.filter((_, place) => shown(place)).length;
      count.textContent = there === all.length ? `${all.length} SAEs` : `${there} of ${all.length} SAEs`;
      clear.hidden = !leaderboardFilters.any(state);
      said.replaceChildren(...explained(ranked, state.by, board, (name) => board.onrank(name)));
      table.replaceChildren(leaderboardTable.table(board));
      box.classList.toggle("whole", state.wide);
      plot.replaceChildren(state.by === L0 ? h("p", { class: "dim" }, "This is L0 itself.") : figure(board, abouts));
      if (box.isConnected) plots.sweep();
    }

    function cleared() {
      Object.assign(state, leaderboardFilters.read({}, abouts));
      filters.replaceChildren(...leaderboardFilters.controls(abouts, state, show));
      show();
      filters.querySelector("button, select, input")?.focus();
    }

    filters.append(...leaderboardFilters.controls(abouts, state, show));
    const checks = [has.baselines ? check("baselines", "baselines", state, show) : null, has.controls ? check("controls", "controls: SAEs that are bad on purpose", state, show) : null, check("wide", "main numbers of all metrics", state, show)];
    show();
    return h(
      "section",
      { class: "card leaderboard", id: "leaderboard" },
      h("h2", {}, "Leaderboard"),
      h("form", { onsubmit: (event) => event.preventDefault() }, h("div", { class: "controls" }, dom.labelled("Ranked by", number), h("div", { class: "checks" }, checks)), filters),
      h("div", { class: "line" }, count, clear),
      said,
      box,
    );
  }

  /** By what SAEs are ranked at first: the first metric's number by which all of them can be, else its main one. */
  function first(ranked) {
    const guides = Object.entries(saes.contents().guides);
    const there = (metric, name) => name && ranked.numbers[`${metric}/${name}`] && `${metric}/${name}`;
    const found = [...guides.filter(([metric]) => metric !== "sanity"), ...guides].map(([metric, guide]) => there(metric, guide.ranked_by)).find(Boolean);
    return found || guides.map(([metric, guide]) => there(metric, guide.headline)).find(Boolean) || Object.keys(ranked.numbers)[0];
  }

  /** The main numbers, one of each metric and what stands for it where sizes differ. */
  const main = (ranked) => [...new Set(Object.entries(saes.contents().guides).flatMap(([metric, guide]) => [guide.headline, guide.ranked_by].filter(Boolean).map((name) => `${metric}/${name}`)))].filter((name) => ranked.numbers[name]);

  /** All numbers to choose from, the main ones first. */
  function numbers(ranked, chosen, onchange) {
    const group = (label, names, called) => (names.length ? h("optgroup", { label: format.visible(label) }, names.map((name) => h("option", { value: name, selected: name === chosen }, called(name)))) : null);
    const first = main(ranked);
    const metrics = new Map();
    for (const [full, { metric }] of Object.entries(ranked.numbers)) if (!first.includes(full)) metrics.set(metric, [...(metrics.get(metric) || []), full]);
    const rest = [...metrics].map(([metric, names]) => group(saes.guide(metric)?.title || metric, names, (full) => format.words(ranked.numbers[full].name)));
    const element = h("select", { id: "leaderboard-by", onchange: () => onchange(element.value) }, group("Main numbers", first, (full) => called(ranked.numbers[full])), rest);
    return element;
  }

  /** A number by its metric's title and its own name. */
  const called = ({ metric, name }) => `${saes.guide(metric)?.title || metric}: ${format.words(name)}`;

  function check(key, text, state, show) {
    const box = h("input", { type: "checkbox", id: `leaderboard-${key}`, checked: state[key], onchange: () => ((state[key] = box.checked), show()) });
    return h("div", { class: "check" }, box, h("label", { for: box.id }, text));
  }

  /** All that is shown of a number. */
  function made(ranked, all, reports, state, shown, onrank) {
    const number = ranked.numbers[state.by];
    const { metric, name } = number;
    const estimate = (report, full) => saes.results(report)[ranked.numbers[full].metric]?.estimates[ranked.numbers[full].name];
    const row = (place) => ({
      place,
      sae: all[place],
      about: ranked.saes[place],
      estimate: estimate(reports[place], state.by),
      l0: reports[place].sanity.estimates.l0,
      units: estimates.told(saes.guide(metric), name, place),
      neuronpedia: saes.neuronpedia(reports[place], null, "Neuronpedia ↗"),
      other: (full) => estimate(reports[place], full),
    });
    const worth = (each) => estimates.worth(each.value, number.better);
    const pools = leaderboardRanks.pools(number, shown).map((pool) => {
      for (const each of pool.rows) Object.assign(each, row(each.place), { worth: worth(estimate(reports[each.place], state.by)) });
      return pool;
    });
    const fields = leaderboardFilters.fields(ranked.saes).map(({ field }) => field);
    for (const pool of pools) {
      pool.title = title(pool, pools, fields);
      const beside = [...(state.baselines ? baselines(pool.rows, number, reports) : []), ...(state.controls ? controls(pool.rows, metric, name, reports) : [])];
      pool.references = beside.map((each) => ({ ...each, worth: worth(each.estimate) }));
    }
    const placed = new Set(number.pools.flatMap((pool) => pool.saes));
    const absent = all.map((_, place) => place).filter((place) => !placed.has(place) && shown(place));
    const reason = (place) => estimate(reports[place], state.by)?.reason || reports[place].errors[metric] || "not evaluated";
    const others = state.wide ? main(ranked).filter((full) => full !== state.by) : [];
    return { number: state.by, name, better: number.better, pools, absent: absent.map((place) => ({ ...row(place), reason: reason(place) })), fields, others: others.map((full) => [full, ranked.numbers[full]]), onrank };
  }

  /** What the SAEs of a pool have in common and those of others have not. */
  function title(pool, pools, fields) {
    const only = (each, field) => (new Set(each.rows.map(({ about }) => leaderboardFilters.value(about, field))).size === 1 ? leaderboardFilters.value(each.rows[0].about, field) : null);
    const parts = fields.filter((field) => only(pool, field) !== null && pools.every((each) => each === pool || only(each, field) !== null) && pools.some((each) => only(each, field) !== only(pool, field)));
    const said = parts.map((field) => (field === "width" ? `${format.number(Number(only(pool, field)))} latents` : `${leaderboardFilters.FIELDS[field].toLowerCase()} ${only(pool, field)}`));
    return said.join(", ") || `Set ${pools.indexOf(pool) + 1} of ${pools.length}`;
  }

  /** The baselines that several SAEs have in common, each value once with what these SAEs are. */
  function baselines(rows, number, reports) {
    return Object.entries(number.baselines).flatMap(([name, label]) => {
      const values = new Map();
      for (const row of rows) {
        const each = saes.results(reports[row.place])[number.metric].estimates[name];
        if (!Number.isFinite(each?.value)) continue;
        const key = each.value.toPrecision(6);
        values.set(key, [...(values.get(key) || []), { row, each }]);
      }
      if (values.size > VALUES || (values.size === rows.length && rows.length > 1)) return [];
      return [...values.values()].map((found) => ({ label, kind: "baseline", estimate: found[0].each, about: shared(found.map(({ row }) => row.about)) }));
    });
  }

  /** What all of some SAEs are, each field empty in which they differ. */
  const shared = (abouts) => Object.fromEntries(Object.keys(leaderboardFilters.FIELDS).map((field) => [field, abouts.every((about) => about[field] === abouts[0][field]) ? abouts[0][field] : ""]));

  /** The controls of SAEs that have the number. */
  function controls(rows, metric, name, reports) {
    return rows.flatMap((row) =>
      Object.entries(reports[row.place].controls || {}).flatMap(([control, { results }]) => {
        const each = results[metric]?.estimates[name];
        if (!Number.isFinite(each?.value)) return [];
        return [{ label: row.sae.name, kind: `control: ${format.words(control)}`, sae: row.sae, estimate: each, about: row.about, l0: results.sanity?.estimates.l0 }];
      }),
    );
  }

  function figure(board, abouts) {
    const architectures = [...new Set(abouts.map((about) => leaderboardFilters.value(about, "architecture")))];
    const references = board.pools.flatMap((pool) => pool.references);
    const levels = references.filter(({ kind }) => kind === "baseline");
    const bad = references.filter(({ kind }) => kind !== "baseline").map((each) => ({ ...each, label: `${each.label}, ${each.kind}` }));
    return leaderboardPlot.figure(board.name, board.pools.flatMap((pool) => pool.rows), levels, bad, architectures);
  }

  /** How to read it: what is tested, what cannot be compared, and what is not tested. */
  function explained(ranked, name, board, rank) {
    const number = ranked.numbers[name];
    const meaning = saes.guide(number.metric)?.numbers[number.name]?.meaning;
    const said = [];
    const direction = estimates.BETTER[number.better] || "no direction of it is better, the largest come first";
    said.push(h("p", {}, h("strong", {}, called(number)), meaning && !meaning.startsWith("…") ? `: ${meaning}` : "", `; ${direction}.`));
    if (number.pools.length > 1) said.push(h("p", { class: "warning" }, `Ranked in ${number.pools.length} sets, as values of one cannot be compared with those of another: ${listed(number.apart)}.`, number.instead && ranked.numbers[number.instead] ? [" ", h("button", { type: "button", class: "pill", onclick: () => rank(number.instead) }, `Rank by ${format.words(ranked.numbers[number.instead].name)} instead`)] : null));
    const tested = board.pools.some((pool) => pool.rows.some((row) => row.tested));
    if (number.ungrouped) said.push(h("p", { class: "dim" }, `Which differences are more than noise is not tested: ${number.ungrouped}.`));
    else if (!number.pairs && number.pools.every((pool) => pool.saes.length === 1)) said.push(h("p", { class: "dim" }, `${number.pools.length === 1 ? "Only one SAE has a value" : "Each SAE is alone in its set"}, so that nothing was tested.`));
    else if (number.pairs && tested) said.push(h("p", { class: "dim" }, tests(ranked, number)));
    const untested = [...new Set(Object.values(number.untested))];
    if (untested.length) said.push(h("p", { class: "dim" }, `Not tested, and so without a letter: ${Object.keys(number.untested).length} of the SAEs (${listed(untested)}).`));
    return said;
  }

  function tests(ranked, number) {
    const how = number.unpaired.length ? `as independent where they are not over the same units (${listed(number.unpaired)})` : "unit by unit on the same text or tasks";
    const letters = number.pools.some(({ open }) => open) ? "Small numbers beside a rank are the ranks, among all SAEs, that noise leaves open; pairs are told apart too irregularly for letters." : "SAEs that share a letter differ by no more than noise; small numbers beside a rank are the ranks that noise leaves open.";
    return `${letters} Tested: ${number.pairs === 1 ? "one pair" : `${format.number(number.pairs)} pairs`}, ${how}, corrected for their number (Holm): the chance of any false difference is at most ${format.percent(ranked.alpha)}. Errors are standard errors${number.repeated ? " over tasks; the tests are about these tasks, with other texts, and so tell more apart" : ""}.`;
  }

  /** A few reasons. */
  const listed = (reasons) => `${reasons.slice(0, 3).join("; ")}${reasons.length > 3 ? "; and so on" : ""}`;

  return { section };
})();
