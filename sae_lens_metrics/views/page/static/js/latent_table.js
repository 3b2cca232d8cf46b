/** The latents of an SAE by columns, joined from the tables of all metrics that have a row for each. */
const latentTable = (() => {
  const KEPT = 3; // SAEs whose latents stay joined: those looked at last
  const opened = new Map();

  function fixed(value, digits = 3) {
    return value === null || value === undefined ? "–" : value.toFixed(digits);
  }

  /** Everything about an SAE's latents; the last ones are kept. */
  function of(sae) {
    const joined = opened.get(sae.key) || join(sae);
    joined.catch(() => opened.delete(sae.key));
    opened.delete(sae.key);
    opened.set(sae.key, joined); // at the end, as the one used last
    if (opened.size > KEPT) opened.delete(opened.keys().next().value);
    return joined;
  }

  async function join(sae) {
    const sources = await sourcesOf(sae);
    const tasks = await saes.columns(sae, "probe", "tasks");
    const best = tasksOf(tasks);
    const explanations = await explained.explanations(sae);
    const effects = await explained.effects(sae);
    const latent = union([...Object.values(sources), tasks && tasks.latent ? tasks : null, explanations]);
    const row = new Map(latent.map((number, i) => [number, i]));
    const columns = { latent };
    const fields = fieldsOf(sources);
    for (const { key, from } of fields) columns[key] = column(sources[from[0]], from[1], row);
    columns.tasks = latent.map((number) => (best.get(number) || []).map((task) => task.task).join(", ") || null);
    lazily(columns, "explanation", () => latent.map((number) => explanations.text(number) || null));
    lazily(columns, "values", () => latent.map((number) => explanations.values(number) || null));
    for (const each of effects) {
      for (const side of ["raised", "lowered"]) {
        const key = side in columns ? `${each.metric}_${side}` : side;
        lazily(columns, key, () => latent.map((number) => each.text(number, side) || null));
        each[side] = key;
      }
    }
    return { columns, row, best, explanations, effects, fields: fields.filter((field) => field.label && columns[field.key].some((value) => value !== null)), sorted: {} };
  }

  /** The tables of latents by metric: those that are called so and have a row for each. */
  async function sourcesOf(sae) {
    const sources = {};
    for (const metric of Object.keys(saes.contents().guides)) {
      const table = await saes.columns(sae, metric, "latents");
      if (table && table.latent) sources[metric] = table;
    }
    return sources;
  }

  /** The columns of all tables: those with a label are shown, as each metric says, or every number where it says nothing. */
  function fieldsOf(sources) {
    const fields = [];
    for (const [metric, table] of Object.entries(sources)) {
      const said = new Map((saes.guide(metric).latents || []).map((each) => [each.name, each]));
      const names = [...said.keys(), ...Object.keys(table).filter((name) => !said.has(name))].filter((name) => name !== "latent" && table[name]);
      for (const name of names) {
        const key = fields.some((field) => field.key === name) ? `${metric}_${name}` : name;
        const plain = said.size === 0 && table[name].some((value) => typeof value === "number");
        const { label = plain ? name.replaceAll("_", " ") : "", title = "", log = false, percent = false, leading = false } = said.get(name) || {};
        fields.push({ key, from: [metric, name], label, title, log, leading, percent, show: percent ? format.percent : log || plain ? number : fixed });
      }
    }
    return fields;
  }

  const number = (value, digits = 3) => format.number(value, digits);

  /** A column that is made when it is first asked for: words for a search, an order or a file take longer than the rest together. */
  function lazily(columns, name, make) {
    let made = null;
    Object.defineProperty(columns, name, { enumerable: true, get: () => (made ||= make()) });
  }

  /** The latents that any table has, in order. */
  function union(sources) {
    const all = new Set();
    for (const table of sources) if (table && table.latent) for (const number of table.latent) if (Number.isInteger(number)) all.add(number);
    return [...all].sort((a, b) => a - b);
  }

  /** A column in the order of the union, null where a table has no such latent. */
  function column(table, name, row) {
    const values = new Array(row.size).fill(null);
    if (table && table.latent && table[name]) table.latent.forEach((number, i) => row.has(number) && (values[row.get(number)] = table[name][i] ?? null));
    return values;
  }

  /** The tasks of which a latent is the best probe, with their losses, by latent. */
  function tasksOf(tasks) {
    const best = new Map();
    for (const task of tasks ? saes.rows(tasks) : []) {
      if (Number.isInteger(task.latent)) best.set(task.latent, [...(best.get(task.latent) || []), task]);
    }
    return best;
  }

  /** A column's present values in order, for ranks; sorted when it is first asked for. */
  function sortedValues(table, key) {
    table.sorted[key] ||= statistics.sorted(table.columns[key]);
    return table.sorted[key];
  }

  /** Everything that a latent can be searched by, in small letters: its explanation, its tasks, and the tokens that it writes. */
  function textsOf({ columns, effects }) {
    const all = [columns.explanation, columns.tasks, ...effects.filter((each) => each.column).map((each) => columns[each.raised])];
    return columns.latent.map((number, i) => all.map((column) => column[i] || "").join("\n").toLowerCase());
  }

  /** Rows that a text, ranges, "only with" and what was found for a token let through. */
  function filter(table, { q = "", only = "", ranges = {}, found = null }) {
    const { columns } = table;
    const wanted = q.toLowerCase();
    if (wanted) table.texts ||= textsOf(table);
    const limits = Object.entries(ranges).filter(([key, [low, high]]) => columns[key] && (low !== null || high !== null));
    const kept = [];
    for (let i = 0; i < columns.latent.length; i += 1) {
      if (found && !found.of.has(columns.latent[i])) continue;
      if (wanted && !table.texts[i].includes(wanted) && String(columns.latent[i]) !== wanted) continue;
      if (only && (columns[only][i] === null || columns[only][i] === "")) continue;
      if (limits.every(([key, [low, high]]) => within(columns[key][i], low, high))) kept.push(i);
    }
    return kept;
  }

  const within = (value, low, high) => value !== null && (low === null || value >= low) && (high === null || value <= high);

  /** Sorts rows by a column, or by what was found for a token, absent values last; equal ones by latent. */
  function sort(table, rows, { key, descending }, found = null) {
    const values = key === "found" && found ? table.columns.latent.map((number) => (found.of.has(number) ? search.rank(found.of.get(number)) : null)) : table.columns[key];
    return rows.sort((a, b) => tables.compare(values[a], values[b], descending) || a - b);
  }

  return { of, filter, sort, sortedValues };
})();
