/** Tables whose columns can be sorted. */
const tables = (() => {
  const collator = new Intl.Collator("en", { numeric: true }); // ten times as fast as localeCompare

  /** Compares values of either kind; absent ones come last in both directions. */
  function compare(a, b, descending) {
    const absentA = a === null || a === undefined || a === "";
    const absentB = b === null || b === undefined || b === "";
    if (absentA || absentB) return absentA - absentB;
    const order = typeof a === "string" || typeof b === "string" ? collator.compare(String(a), String(b)) : a - b;
    return descending ? -order : order;
  }

  /** A heading with a button in it; `sort` is {key, descending}. */
  function heading(column, sort, onsort) {
    const active = sort.key === column.key;
    const arrow = active ? (sort.descending ? "▼" : "▲") : "";
    const button = h(
      "button",
      { type: "button", class: "sort", title: column.title || null, "data-key": column.key, onclick: () => onsort(column.key) },
      column.label,
      h("span", { class: "arrow", "aria-hidden": "true" }, arrow),
    );
    const state = active ? (sort.descending ? "descending" : "ascending") : "none";
    return h("th", { scope: "col", "aria-sort": state, class: column.numeric ? "number" : null }, button);
  }

  /**
   * A table that sorts itself.
   * @param {{key: string, label: string, numeric?: boolean, title?: string, cell?: function(Object): (Node|string), value?: function(Object)}[]} columns
   * @param {Object[]} rows
   * @param {{label: string, sort?: {key: string, descending: boolean}, longest?: number}} settings
   */
  function sortable(columns, rows, { label, sort = { key: null, descending: false }, longest = 500 }) {
    const box = dom.scrolling(label);
    const value = (column, row) => (column.value ? column.value(row) : row[column.key]);
    function draw(focus) {
      const column = columns.find((each) => each.key === sort.key);
      const ordered = column ? [...rows].sort((a, b) => compare(value(column, a), value(column, b), sort.descending)) : rows;
      const head = h("tr", {}, columns.map((each) => heading(each, sort, resort)));
      const body = ordered.slice(0, longest).map((row) =>
        h("tr", {}, columns.map((each) => h("td", { class: each.numeric ? "number" : null }, each.cell ? each.cell(row) : row[each.key]))),
      );
      box.replaceChildren(h("table", {}, h("thead", {}, head), h("tbody", {}, body)));
      if (rows.length > longest) box.append(h("p", { class: "dim" }, `the first ${longest} of ${rows.length}`));
      if (focus) box.querySelector(`button[data-key="${CSS.escape(focus)}"]`).focus();
    }
    function resort(key) {
      const numeric = columns.find((each) => each.key === key).numeric;
      sort = { key, descending: sort.key === key ? !sort.descending : Boolean(numeric) };
      draw(key);
    }
    draw(null);
    return box;
  }

  return { compare, heading, sortable };
})();
