/** What of a paper was judged by the results: line by line, with what was expected. */
const judgedView = (() => {
  const TONES = { good: "better", bad: "worse", open: "" };

  async function render() {
    const judged = saes.contents().judged ? await store.value("judged") : null;
    if (!judged) return saes.missing("No verdicts", "No reference was held against the SAEs of this page: sae-lens-metrics reproduce does that.");
    const page = h("div", { class: "view" }, h("h1", {}, judged.title), h("p", { class: "about" }, h("span", {}, judged.source)));
    page.append(h("section", { class: "card", id: "judged" }, h("h2", {}, judged.sentence), tables.sortable(columns(judged), judged.lines, { label: judged.title })));
    if (judged.notes.length) page.append(h("section", { class: "card", id: "judged-notes" }, h("h2", {}, "Notes"), h("ul", {}, judged.notes.map((text) => h("li", {}, text)))));
    return { title: "Verdicts", page };
  }

  function columns(judged) {
    return [
      ...(judged.groups ? [{ key: "group", label: judged.groups, cell: (line) => h("bdi", {}, line.group) }] : []),
      { key: "what", label: judged.what },
      ...judged.headings.map((label, i) => ({ key: `cell-${i}`, label, value: (line) => line.cells[i], cell: (line) => line.cells[i] })),
      { key: "verdict", label: "verdict", cell: (line) => h("span", { class: `judged ${TONES[line.tone]}` }, line.verdict) },
      ...(judged.more ? [{ key: "more", label: judged.more }] : []),
    ];
  }

  return { render };
})();
