/** Files made from the page's data. */
const download = (() => {
  /** Hands a text to the reader as a file. */
  function save(name, text, type) {
    const url = URL.createObjectURL(new Blob([text], { type }));
    const link = h("a", { href: url, download: name.replace(/[^\w.-]+/g, "_") });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }

  /** A table's field: in quotation marks where it has to be. A text that a spreadsheet would compute gets an apostrophe in front. */
  function field(value) {
    if (value === null || value === undefined) return "";
    let text = String(value);
    if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
    return /[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  }

  const csv = (names, rows) => [names, ...rows].map((row) => row.map(field).join(",")).join("\n") + "\n";

  /** The report's numbers, as Report.to_frame has them. */
  function numbers(report) {
    const rows = Object.entries(saes.results(report)).flatMap(([metric, result]) =>
      Object.entries(result.estimates).map(([name, each]) => [metric, name, each.value, each.stderr, each.n, each.of, each.reason]),
    );
    return csv(["metric", "name", "value", "stderr", "n", "of", "reason"], rows);
  }

  /** The result file's content, put together from all parts. */
  async function report(sae) {
    const whole = await store.exact(`${sae.key}-overview`);
    const results = saes.results(whole);
    const influences = await store.exact(`${sae.key}-influences`);
    for (const [metric, { estimates }] of Object.entries(results)) {
      for (const [name, estimate] of Object.entries(estimates)) {
        const { own, repeated } = influences[`${metric}/${name}`] ?? {}; // names may have slashes
        estimate.influence = own ?? null;
        if (estimate.repeated) estimate.repeated.influence = repeated ?? null;
      }
    }
    for (const { metric, name, part } of sae.tables) {
      const table = await store.exact(part);
      results[metric].tables[name] = table.columns ? saes.rows(table.columns) : table.rows;
    }
    for (const kind of ["explanations", "effects"]) {
      for (const [metric, part] of Object.entries(sae[kind])) results[metric][kind] = explained.whole[kind](await store.exact(part));
    }
    for (const [metric, { prefix, parts }] of Object.entries(sae.examples)) {
      for (const number of parts) {
        const { places, columns } = await store.exact(`${prefix}-${number}`);
        saes.rows(columns).forEach((row, i) => (results[metric].examples[places[i]] = row));
      }
    }
    return JSON.stringify(whole, null, 1);
  }

  return { save, csv, numbers, report };
})();
