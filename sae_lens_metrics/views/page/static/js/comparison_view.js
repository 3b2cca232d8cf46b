/** Which numbers of two SAEs differ by more than noise. */
const comparisonView = (() => {
  const SMALLEST = 1e-300; // below it a p-value is only known to be small
  const MARK = { higher: "▲ ", lower: "▼ " };

  function section(comparison) {
    const { names, differences, tested, alpha, caveat, notes, wider_in_words: wider } = comparison;
    const said = `${tested} ${tested === 1 ? "number was" : "numbers were"} tested by t tests corrected for their number (Holm-Bonferroni): the probability of any false "higher" or "lower" is at most ${alpha}.`;
    const box = h("section", { class: "card", id: "comparison" }, h("h2", {}, "What differs by more than noise"));
    for (const name of names.slice(1)) {
      const mine = differences.filter((each) => each.name === name);
      const shown = mine.filter((each) => each.p !== null || each.by_size);
      box.append(h("h3", {}, "First: ", h("bdi", {}, names[0]), ", second: ", h("bdi", {}, name)));
      box.append(table(shown, name));
      const others = mine.filter((each) => !shown.includes(each));
      if (others.length) box.append(h("details", {}, h("summary", {}, `${others.length} numbers that are not tested`), table(others, name)));
    }
    box.append(h("p", { class: "trust" }, said), wider.map((text) => h("p", { class: "trust" }, text)), h("p", { class: "trust" }, caveat));
    if (notes.length) box.append(h("details", {}, h("summary", {}, "Notes on this comparison"), h("ul", {}, notes.map((note) => h("li", {}, note)))));
    return box;
  }

  function table(differences, name) {
    const columns = [
      { key: "number", label: "Number", cell: (each) => format.words(each.number) },
      { key: "first", label: "First", numeric: true, cell: (each) => format.estimate(each.first, each.first_stderr) },
      { key: "second", label: "Second", numeric: true, cell: (each) => format.estimate(each.second, each.second_stderr) },
      { key: "difference", label: "Difference", numeric: true, cell: (each) => `${each.difference > 0 ? "+" : ""}${format.estimate(each.difference, each.stderr)}${mark(each)}` },
      { key: "corrected_p", label: "p", numeric: true, title: "corrected for the number of tests", cell: (each) => (each.corrected_p === null ? "–" : each.corrected_p < SMALLEST ? "< 1e−300" : format.number(each.corrected_p, 2)) },
      { key: "verdict", label: "The second is", cell: (each) => h("span", { class: `verdict ${each.verdict}` }, `${MARK[each.verdict] || ""}${each.untested ? each.untested : each.verdict}`) },
      { key: "judgement", label: "So it is", cell: (each) => h("span", { class: `judged ${each.judgement || ""}` }, each.judgement || "") },
    ];
    const unpaired = differences.some((each) => !each.paired && each.stderr !== null);
    const onTasks = differences.some((each) => each.wider_over !== null);
    const remarks = [unpaired ? "* not paired" : "", onTasks ? "† on the same tasks, see below" : ""].filter(Boolean);
    const remark = remarks.length ? h("p", { class: "dim small" }, remarks.join("; ")) : null;
    return h("div", {}, tables.sortable(columns, differences, { label: `Differences of ${name}` }), remark);
  }

  const mark = (each) => (each.wider_over !== null ? " †" : each.paired || each.stderr === null ? "" : " *");

  return { section };
})();
