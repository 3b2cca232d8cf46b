/** The SAEs of the page. */
const saes = (() => {
  let contents = null;

  /** Reads the table of contents; before anything else. */
  async function start() {
    contents = await store.value("contents");
    return contents;
  }

  const all = () => contents.saes;
  const guide = (metric) => contents.guides[metric];

  /** An SAE by its name as an address has it, the first one where the address names none; undefined if there is none of that name. */
  const named = (name) => (name ? all().find((sae) => router.address([sae.name]) === router.address([name])) : all()[0]);

  /** The view in the place of one for which something is missing. */
  const missing = (title, text) => ({ title, page: h("div", { class: "view" }, h("h1", {}, title), h("p", {}, text)) });

  /** Why there is no SAE to show. */
  const unknown = (name) => (name && all().length ? `There is no SAE ${name} on this page.` : "There is no result.");

  /** The report without its bulk. */
  const overview = (sae) => store.value(`${sae.key}-overview`);
  const overviews = () => Promise.all(all().map(overview));

  /** What the results depend on, with large whole numbers, such as seeds, as they were written. */
  const provenance = async (sae) => (await store.exact(`${sae.key}-overview`)).provenance;

  /** The results of a report by metric, the sanity line first; a metric may be called like what every object has. */
  const results = (report) => ({ __proto__: null, sanity: report.sanity, ...report.metrics });

  const entry = (sae, metric, name) => sae.tables.find((table) => table.metric === metric && table.name === name);

  /** A table as {column: values}; null if there is none. */
  async function columns(sae, metric, name) {
    const table = entry(sae, metric, name);
    if (!table || !table.rows) return null;
    const value = await store.value(table.part);
    if (value.columns) return value.columns;
    const names = [...new Set(value.rows.flatMap(Object.keys))];
    return Object.fromEntries(names.map((column) => [column, value.rows.map((row) => row[column] ?? null)]));
  }

  /** The rows of columns. */
  function rows(table) {
    const names = Object.keys(table);
    const length = names.length ? table[names[0]].length : 0;
    return Array.from({ length }, (_, i) => Object.fromEntries(names.map((name) => [name, table[name][i]])));
  }

  /** The examples of a latent, of all metrics that have some. */
  async function examples(sae, latent) {
    const found = [];
    for (const { prefix, size, parts } of Object.values(sae.examples)) {
      const number = Math.floor(latent / size);
      if (!parts.includes(number)) continue;
      const { columns: chunk } = await store.value(`${prefix}-${number}`);
      chunk.latent.forEach((each, i) => {
        if (each === latent) found.push(Object.fromEntries(Object.keys(chunk).map((name) => [name, chunk[name][i]])));
      });
    }
    return found;
  }

  /** A link to where Neuronpedia shows an SAE, or a latent of it; null if the result does not say that it does. */
  function neuronpedia(report, latent = null, text = "on Neuronpedia ↗") {
    const id = report.provenance.sae?.neuronpedia_id;
    if (typeof id !== "string" || !/^[\w.-]+(\/[\w.-]+)+$/.test(id)) return null;
    const address = `https://neuronpedia.org/${id}${latent === null ? "" : `/${latent}`}`;
    return h("a", { href: address, rel: "noopener noreferrer", target: "_blank" }, text);
  }

  return { start, contents: () => contents, all, guide, named, missing, unknown, overview, overviews, provenance, results, columns, rows, examples, neuronpedia };
})();
