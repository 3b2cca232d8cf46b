/** All latents of an SAE: a table to sort, filter and page through. */
const latentsView = (() => {
  const PAGE = 50;
  const ONLY = { "": "all latents", explanation: "with an explanation", tasks: "best at a probe task", sparsity: "ablated" };

  async function render({ query }) {
    const sae = saes.named(query.sae);
    if (!sae) return saes.missing("Latents", saes.unknown(query.sae));
    const page = h("div", { class: "view" }, h("h1", {}, "Latents"));
    const table = await latentTable.of(sae);
    const state = await read(query, table, sae);
    const summary = h("p", { class: "count", role: "status" });
    const meant = h("p", { class: "dim small", role: "status" });
    const box = dom.scrolling("Latents");
    const pager = h("div", { class: "pager" });
    let kept = [];

    const settings = () => ({
      sae: saes.all().length > 1 ? sae.name : "",
      sort: state.sort.key === first(table, state).key && state.sort.descending === first(table, state).descending ? "" : `${state.sort.descending ? "-" : ""}${state.sort.key}`,
      q: state.q,
      token: state.token,
      only: state.only,
      page: state.page > 1 ? state.page : "",
      ...Object.fromEntries(Object.entries(state.ranges).map(([key, ends]) => [key, ends.some((end) => end !== null) ? ends.map((end) => end ?? "").join("..") : ""])),
    });

    /** Filters and sorts again; then shows the page, with the focus on the heading of a column. */
    function refresh(focus) {
      kept = latentTable.sort(table, latentTable.filter(table, state), state.sort, state.found);
      show(focus);
    }

    function show(focus) {
      const pages = Math.max(1, Math.ceil(kept.length / PAGE));
      state.page = Math.max(1, Math.min(state.page, pages));
      router.note(["latents"], settings());
      summary.textContent = `${kept.length.toLocaleString("en")} of ${table.columns.latent.length.toLocaleString("en")} latents`;
      meant.replaceChildren(...meaning(state));
      box.replaceChildren(drawn(sae, table, kept.slice((state.page - 1) * PAGE, state.page * PAGE), state, resort));
      pager.replaceChildren(...paging(state.page, pages, turn));
      if (focus) box.querySelector(`button[data-key="${focus}"]`)?.focus();
    }

    function turn(to) {
      state.page = to;
      show();
      box.scrollIntoView({ block: "nearest" });
    }

    function resort(key) {
      const first = key === "found" || table.fields.some((field) => field.key === key);
      state.sort = { key, descending: state.sort.key === key ? !state.sort.descending : first };
      state.page = 1;
      refresh(key);
    }

    function changed() {
      state.page = 1;
      refresh();
    }

    /** Looks a token up, and shows those latents first that fire on little else. */
    async function lookedUp() {
      const token = state.token;
      const found = await foundFor(sae, token);
      if (token !== state.token) return; // the reader went on typing
      state.found = found;
      state.sort = first(table, state);
      changed();
    }

    const save = h("button", { type: "button", onclick: () => download.save(`${sae.name}-latents.csv`, csv(table, kept), "text/csv") }, "Download as CSV");
    page.append(chooser(sae), filters(sae, table, state, changed, lookedUp), h("div", { class: "line" }, summary, save), meant, box, legend(table), pager);
    refresh();
    return { title: "Latents", page };
  }

  /** What was found for a token; nothing where none was given. */
  const foundFor = async (sae, token) => (token && search.possible(sae) ? search.find(sae, token) : null);

  /** Which tokens were taken for the one that was looked for, where that is another one. */
  function meaning({ token, found }) {
    if (!found || (found.words.length === 1 && found.words[0] === token)) return [];
    if (!found.words.length) return ["No latent is known to fire on such a token."];
    const more = found.words.length > 8 ? ` and ${found.words.length - 8} more` : "";
    return ["Taken for: ", ...found.words.slice(0, 8).map((word) => h("span", { class: "chip" }, tokens.short(word))), more];
  }

  /** How the table is sorted at first: by what was looked for, else by what a metric says is worth seeing, else by number. */
  function first(table, { found = null } = {}) {
    if (found) return { key: "found", descending: true };
    const leading = table.fields.find((field) => field.leading);
    return leading ? { key: leading.key, descending: true } : { key: "latent", descending: false };
  }

  /** The settings of an address; what cannot be read is left out. */
  async function read(query, table, sae) {
    const found = await foundFor(sae, query.token);
    const key = (query.sort || "").replace(/^-/, "");
    const keys = ["latent", "explanation", "tasks", ...written(table).map((each) => each.raised), ...(found ? ["found"] : []), ...table.fields.map((field) => field.key)];
    const end = (text) => (text === "" || text === undefined || !Number.isFinite(Number(text)) ? null : Number(text));
    const ranges = Object.fromEntries(table.fields.map((field) => [field.key, query[field.key] ? [0, 1].map((i) => end(query[field.key].split("..")[i])) : [null, null]]));
    return {
      q: query.q || "",
      token: found ? query.token : "",
      found,
      only: query.only && Object.hasOwn(ONLY, query.only) ? query.only : "",
      sort: keys.includes(key) ? { key, descending: query.sort.startsWith("-") } : first(table, { found }),
      page: Math.max(1, parseInt(query.page, 10) || 1),
      ranges,
    };
  }

  /** The effects whose tokens the table shows. */
  const written = (table) => table.effects.filter((each) => each.column);

  /** Which SAE, where there are several. */
  function chooser(sae) {
    if (saes.all().length < 2) return h("p", { class: "about" }, h("bdi", {}, sae.name));
    const options = saes.all().map(({ name }) => [name, name]);
    const choice = dom.select(options, sae.name, () => router.go(["latents"], { sae: saes.all()[choice.selectedIndex].name }));
    choice.id = "latents-sae";
    return dom.labelled("SAE", choice, "field alone");
  }

  /** Does something when a reader has stopped typing. */
  function later(act) {
    let timer = null;
    return () => {
      clearTimeout(timer);
      timer = setTimeout(act, 150);
    };
  }

  function filters(sae, table, state, changed, lookedUp) {
    const soon = later(changed);
    const lookUpSoon = later(lookedUp);
    const token = h("input", { type: "search", id: "latents-token", value: state.token, placeholder: "a token, such as “ import”", oninput: () => ((state.token = token.value), lookUpSoon()) });
    const text = h("input", { type: "search", id: "latents-q", value: state.q, placeholder: "text, or a latent's number", oninput: () => ((state.q = text.value), soon()) });
    const only = dom.select(Object.entries(ONLY), state.only, (value) => ((state.only = value), changed()));
    only.id = "latents-only";
    const ranges = table.fields.map((field) => {
      const ends = [0, 1].map((i) => {
        const label = `${field.label}, ${i ? "at most" : "at least"}`;
        const box = h("input", { type: "number", step: "any", "aria-label": label, placeholder: i ? "to" : "from", value: state.ranges[field.key][i], "data-range": `${field.key}-${i}` });
        box.addEventListener("input", () => {
          state.ranges[field.key][i] = box.value === "" ? null : Number(box.value);
          soon();
        });
        return box;
      });
      return h("fieldset", { class: "range" }, h("legend", {}, field.key === "density" ? "Density (fraction)" : field.label), ends[0], h("span", { "aria-hidden": "true" }, "–"), ends[1]);
    });
    const used = Object.values(state.ranges).some((ends) => ends.some((end) => end !== null));
    return h(
      "form",
      { class: "controls card", onsubmit: (event) => event.preventDefault() },
      search.possible(sae) ? dom.labelled("Fires on the token", token) : null,
      dom.labelled(written(table).length ? "Search explanations, written tokens and tasks" : "Search explanations and tasks", text, "field grow"),
      dom.labelled("Show", only),
      h("details", { class: "ranges", open: used }, h("summary", {}, "Ranges"), h("div", { class: "range-grid" }, ranges)),
    );
  }

  function drawn(sae, table, rows, state, resort) {
    const { columns } = table;
    const described = [
      { key: "latent", label: "Latent", numeric: true },
      ...(state.found ? [{ key: "found", label: "On it", numeric: true, title: "share of its activation that is on the token, by its n-grams and examples; “behind”: of its n-grams that have it before the last token" }] : []),
      ...(table.explanations.latent.length ? [{ key: "explanation", label: "What fires it" }] : []),
      ...written(table).map((each) => ({ key: each.raised, label: each.column, title: "the tokens that it raises most", effects: each })),
      ...table.fields.map((field) => ({ ...field, numeric: true })),
      ...(table.best.size ? [{ key: "tasks", label: "Best at task" }] : []),
    ];
    const head = h("tr", {}, described.map((column) => tables.heading(column, state.sort, resort)));
    const cell = (column, i) => {
      if (column.key === "latent") return h("th", { scope: "row", class: "number" }, h("a", { href: router.address(["latent", sae.name, columns.latent[i]]) }, columns.latent[i]));
      if (column.key === "found") return h("td", { class: "number" }, share(state.found.of.get(columns.latent[i])));
      if (column.effects) return h("td", { class: "written" }, tokens.written(column.effects.of(columns.latent[i], "raised")));
      if (column.key === "explanation") return h("td", { class: "explanation" }, tokens.brief(table.explanations.of(columns.latent[i])));
      if (column.key === "tasks") return h("td", {}, (table.best.get(columns.latent[i]) || []).map((task) => h("span", { class: "task" }, task.task, h("span", { class: "dim" }, ` ${format.number(task.loss, 3)}`))));
      return h("td", { class: "number" }, column.show(columns[column.key][i]));
    };
    const body = rows.map((i) => h("tr", {}, described.map((column) => cell(column, i))));
    if (!rows.length) body.push(h("tr", {}, h("td", { colspan: described.length }, "No latent is like that.")));
    return h("table", { class: "latents" }, h("thead", {}, head), h("tbody", {}, body));
  }

  /** What was found for a latent: how much of it is on the token, or behind it. */
  const share = ({ on, after }) => (on ? `${on} %` : h("span", { class: "dim" }, `${after} % behind`));

  /** How to read an explanation. */
  function legend(table) {
    if (!table.explanations.latent.length) return null;
    return h("p", { class: "dim small legend" }, h("code", {}, "^"), " the start of a document, ", h("code", {}, "*"), " any token, ", h("code", {}, "|"), " or: an explanation is a list of n-grams, each of which makes the latent fire on its last token");
  }

  function paging(now, pages, turn) {
    if (pages === 1) return [];
    const button = (text, to) => h("button", { type: "button", disabled: to < 1 || to > pages || to === now, onclick: () => turn(to) }, text);
    const number = h("input", { type: "number", min: 1, max: pages, value: now, "aria-label": "Page", onchange: () => turn(parseInt(number.value, 10) || 1) });
    return [button("First", 1), button("Previous", now - 1), h("span", {}, "page ", number, ` of ${pages.toLocaleString("en")}`), button("Next", now + 1), button("Last", pages)];
  }

  /** The rows that are shown, with everything that is known of them. */
  function csv(table, kept) {
    const names = Object.keys(table.columns).filter((name) => table.columns[name].some((value) => value !== null));
    return download.csv(names, kept.map((i) => names.map((name) => table.columns[name][i])));
  }

  return { render };
})();
