/** How noisy the numbers are from seed to seed, and what they can tell apart. */
const auditView = (() => {
  const FIT = { fits: "", "too small": "worse", "too large": "worse", "not redrawn": "" }; // how a verdict on an error is marked

  async function render() {
    const audit = saes.contents().audited ? await store.value("audit") : null;
    if (!audit) return saes.missing("No audit", "The SAEs of this page were not evaluated with several seeds: sae-lens-metrics audit does that.");
    const page = h("div", { class: "view" }, h("h1", {}, "Audit"), h("p", { class: "about" }, h("span", {}, `seeds ${audit.seeds.join(", ")}`), h("span", {}, shared(audit))));
    page.append(card("audit-noise", "How noisy the numbers are", "s is the standard deviation over seeds. A reported error fits if 1 is inside the interval of s / error.", noise(audit.numbers)));
    if (audit.separations.length) page.append(card("audit-apart", "What they tell apart", "Signal to noise is the spread of the SAEs' means over s: above 2 is comfortable, 1 is a coin flip.", separations(audit)));
    if (audit.pairs.length) page.append(card("audit-pairs", "Pairs, seed by seed", "Differences on the same text, as compare finds them with each seed by itself.", pairs(audit.pairs)));
    if (audit.needs.length) page.append(card("audit-needs", "What it would take", "Times as many sampled units, if s falls as one over the root of their number; at most 1 is enough already.", needs(audit.needs)));
    page.append(remarks(audit));
    return { title: "Audit", page };
  }

  function shared({ overlap, disjoint }) {
    if (overlap === null) return "it is not known how much the texts of two seeds have in common";
    return `${format.percent(overlap)} of documents are in the texts of two seeds${disjoint ? ", which were drawn apart" : ""}`;
  }

  function card(id, heading, said, table) {
    return h("section", { class: "card", id }, h("h2", {}, heading), h("p", { class: "trust" }, said), table);
  }

  const plain = (key, label, title) => ({ key, label, title, numeric: true, cell: (each) => format.number(each[key], 2) });
  const named = { key: "number", label: "Number", cell: (each) => (each.headline ? h("strong", {}, format.words(each.number)) : format.words(each.number)) };

  /** s over the reported error, with its interval, and the verdict. */
  const fit = [
    { key: "reported", label: "Error", title: "mean reported standard error", numeric: true, value: (each) => each.errors?.reported, cell: (each) => format.number(each.errors?.reported, 2) },
    { key: "ratio", label: "s / error", title: "with a 95 % interval", numeric: true, value: (each) => each.errors?.ratio, cell: (each) => (each.errors ? `${each.errors.ratio.toFixed(2)} [${each.errors.low.toFixed(2)}, ${each.errors.high.toFixed(2)}]` : "–") },
    { key: "verdict", label: "The error", value: (each) => each.errors?.verdict, cell: (each) => (each.errors ? h("span", { class: `judged ${FIT[each.errors.verdict]}` }, each.errors.verdict) : "–") },
  ];

  function noise(numbers) {
    const columns = [
      named,
      { key: "name", label: "SAE", cell: (each) => h("bdi", {}, each.name) },
      { key: "mean", label: "Mean", numeric: true, cell: (each) => format.parts(each.mean, each.s).value },
      plain("s", "s", "standard deviation over seeds"),
      { key: "cv", label: "CV", title: "s over the mean", numeric: true, cell: (each) => format.percent(each.cv, 2) },
      ...fit,
      plain("one_seed", "One seed", "smallest difference of two SAEs that one seed of each can show, unpaired"),
      plain("three_seeds", "Three seeds", "likewise three seeds of each"),
    ];
    return tables.sortable(columns, numbers, { label: "Noise of the numbers" });
  }

  function separations(audit) {
    const apart = (each) => audit.pairs.filter((pair) => pair.number === each.number && pair.told_apart).length;
    const tested = (each) => audit.pairs.filter((pair) => pair.number === each.number).length;
    const columns = [
      named,
      plain("pooled_s", "s", "standard deviation over seeds, pooled over SAEs"),
      plain("snr", "SNR", "spread of the SAEs' means over s"),
      plain("tau", "Kendall's tau", "agreement of the seeds' rankings"),
      { key: "same_top", label: "Same best", title: "share of pairs of seeds with the same best SAE", numeric: true, cell: (each) => format.percent(each.same_top) },
      plain("nearest", "Nearest two", "smallest difference of two SAEs"),
      { key: "apart", label: "Pairs told apart", title: "by compare, with each seed by itself", numeric: true, value: apart, cell: (each) => (tested(each) ? `${apart(each)} of ${tested(each)}` : "–") },
    ];
    return tables.sortable(columns, audit.separations, { label: "What the numbers tell apart" });
  }

  function pairs(found) {
    const columns = [
      named,
      { key: "first", label: "First", cell: (each) => h("bdi", {}, each.first) },
      { key: "second", label: "Second", cell: (each) => h("bdi", {}, each.second) },
      { key: "difference", label: "Second minus first", numeric: true, cell: (each) => format.parts(each.difference, each.s).value },
      plain("s", "s", "standard deviation of the difference over seeds"),
      ...fit,
      ...["higher", "lower", "undecided"].map((key) => plain(key, key, "seeds with which compare says so")),
      plain("times", "Takes times", "as many sampled units for one paired comparison to show this difference; up to 1 is enough"),
    ];
    return tables.sortable(columns, found, { label: "Pairs of SAEs" });
  }

  function needs(found) {
    const SOURCES = { given: "wanted", nearest: "tells the two nearest apart" };
    const columns = [
      named,
      plain("s", "s", "pooled over SAEs"),
      plain("wanted_s", "To be"),
      { key: "source", label: "Why", cell: (each) => SOURCES[each.source] },
      plain("times", "Times as many"),
      { key: "settings", label: "What is sampled", value: (each) => settings(each), cell: (each) => settings(each) },
    ];
    return tables.sortable(columns, found, { label: "What it would take" });
  }

  const settings = (each) => Object.entries(each.settings).map(([name, value]) => `${name} = ${value === null ? "all" : value}`).join(", ");

  function remarks({ caveat, not_redrawn, repeated, numbers, notes, failed }) {
    const kept = numbers.some((each) => each.errors?.verdict === "not redrawn");
    const again = numbers.some((each) => each.errors?.repeated);
    const items = [...notes.map((note) => h("li", {}, note)), ...failed.map((text) => h("li", { class: "failed" }, h("strong", {}, "Failed: "), text))];
    return h("section", {}, kept ? h("p", { class: "trust" }, `${not_redrawn}.`) : null, again ? h("p", { class: "trust" }, `${repeated}.`) : null, h("p", { class: "trust" }, caveat), items.length ? h("ul", {}, items) : null);
  }

  return { render };
})();
