/** What the results depend on, and files to take along. */
const configView = (() => {
  const TITLES = { "": "Evaluation", config: "Settings", sae: "SAE", corpus: "Text" };
  const ALWAYS_DIFFERENT = ["created", "seconds"];

  async function render({ query }) {
    const all = saes.all();
    if (!saes.named(query.sae) && all.length) return saes.missing("Configuration", saes.unknown(query.sae));
    const reports = await saes.overviews();
    const page = h("div", { class: "view" }, h("h1", {}, "Configuration"));
    if (!all.length) return { title: "Configuration", page: (page.append(h("p", {}, "There is no result.")), page) };
    page.append(files(all, reports));
    const flat = (await Promise.all(all.map(saes.provenance))).map((each) => flattened(each));
    const times = reports.map((report) => Object.fromEntries(Object.entries(saes.results(report)).map(([metric, result]) => [metric, format.seconds(result.seconds)])));
    const first = all.indexOf(saes.named(query.sae));
    const shown = all.length <= 4 ? all.map((_, i) => i) : [first];
    if (all.length > 4) page.append(chooser(all, first));
    const groups = new Map();
    for (const key of new Set(flat.flatMap(Object.keys))) {
      const group = key.includes(".") ? key.split(".")[0] : "";
      groups.set(group, [...(groups.get(group) || []), key]);
    }
    for (const [group, keys] of groups) page.append(section(group, keys, flat, shown, all));
    const metrics = [...new Set(times.flatMap(Object.keys))];
    page.append(section("time per metric", metrics, times, shown, all, false));
    return { title: "Configuration", page };
  }

  /** Nested settings under names with dots. */
  function flattened(value, prefix = "") {
    if (JSON.isRawJSON?.(value)) return { [prefix]: value.rawJSON };
    if (value === null || typeof value !== "object" || Array.isArray(value)) return { [prefix]: text(value) };
    return Object.assign({}, ...Object.entries(value).map(([key, each]) => flattened(each, prefix ? `${prefix}.${key}` : key)));
  }

  function text(value) {
    if (value === null) return "none";
    if (Array.isArray(value)) return value.map((each) => (typeof each === "object" ? JSON.stringify(each) : String(each))).join(", ") || "none";
    return String(value);
  }

  function chooser(all, first) {
    const choice = dom.select(all.map(({ name }) => [name, name]), all[first].name, () => router.go(["config"], { sae: all[choice.selectedIndex].name }));
    choice.id = "config-sae";
    return dom.labelled("SAE", choice, "field alone");
  }

  /** A group of settings; those in which SAEs differ are marked. */
  function section(group, keys, flat, shown, all, marked = true) {
    const title = TITLES[group] ?? format.words(group).replace(/^./u, (first) => first.toUpperCase());
    const head = h("tr", {}, h("th", { scope: "col" }, "Setting"), shown.map((i) => h("th", { scope: "col" }, h("bdi", {}, all[i].name))));
    const rows = keys.map((key) => {
      const differs = marked && !ALWAYS_DIFFERENT.includes(key) && new Set(flat.map((each) => each[key])).size > 1;
      const name = format.words(group === key.split(".")[0] && key.includes(".") ? key.slice(group.length + 1) : key);
      return h("tr", { class: differs ? "differs" : null }, h("th", { scope: "row" }, name, differs ? h("span", { class: "mark" }, " differs") : null), shown.map((i) => h("td", {}, flat[i][key] ?? "–")));
    });
    const table = h("table", { class: "settings" }, h("thead", {}, head), h("tbody", {}, rows));
    return h("section", { class: "card" }, h("h2", {}, title), dom.scrolling(title, table));
  }

  function files(all, reports) {
    const row = (sae, i) => {
      const json = h("button", { type: "button", "data-download": "json" }, "Result as JSON");
      json.addEventListener("click", async () => {
        json.disabled = true;
        try {
          download.save(`${sae.name}.json`, await download.report(sae), "application/json");
        } finally {
          json.disabled = false;
        }
      });
      const csv = h("button", { type: "button", "data-download": "csv", onclick: () => download.save(`${sae.name}.csv`, download.numbers(reports[i]), "text/csv") }, "Numbers as CSV");
      return h("li", {}, h("bdi", {}, sae.name), h("span", { class: "buttons" }, json, csv));
    };
    return h("section", { class: "card" }, h("h2", {}, "Files"), h("ul", { class: "files" }, all.map(row)));
  }

  return { render };
})();
