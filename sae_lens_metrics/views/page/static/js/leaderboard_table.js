/** The rows of a leaderboard. */
const leaderboardTable = (() => {
  const LANES = 10; // columns of letters up to which a reader follows them; the ranks that noise leaves open always stand there
  const LONGEST = 500; // rows of a set, but for its baselines, that a reader scrolls through and a browser lays out at once
  const LONG = 26; // characters of a name from which on it may take several lines
  const SHORT = { model: "Model", layer: "Layer", hook: "Hook", width: "Latents", architecture: "Architecture" };

  /**
   * @param {Object} board all that is shown:
   *   `pools` as leaderboardRanks gives them, with `references`, rows without a rank; `absent`, rows without a value and why;
   *   `name` of the number, `better`, `fields` that have a column, `others`, further numbers; `onrank`, called with a number to rank by
   */
  function table(board) {
    const all = board.pools.flatMap((pool) => pool.rows);
    const estimatesShown = [...all, ...board.pools.flatMap((pool) => pool.references)].map((row) => row.estimate);
    const lanes = board.pools.map((pool) => leaderboardRanks.lanes(pool.groups));
    const widest = Math.max(0, ...lanes.map((each) => each.length));
    const shape = { ...board, lanes: widest > LANES ? 0 : widest, units: all.some((row) => row.units !== null), parts: format.aligned(estimatesShown), open: all.some((row) => row.best !== row.worst), linked: all.some((row) => row.neuronpedia) };
    const columns = 4 + shape.lanes + board.fields.length + board.others.length + (shape.linked ? 1 : 0);
    const body = h("tbody");
    board.pools.forEach((pool, i) => {
      if (board.pools.length > 1) body.append(h("tr", { class: "pool" }, h("th", { colspan: columns, scope: "rowgroup" }, pool.title)));
      for (const row of cut(inOrder(pool))) body.append(row.more ? more(row.more, columns) : row.rank ? ranked(row, shape, lettered(row, lanes[i], pool.groups)) : reference(row, shape));
    });
    body.append(...board.absent.map((row) => missing(row, shape)));
    if (!body.children.length) body.append(h("tr", {}, h("td", { colspan: columns }, "No SAE is like that.")));
    if (all.some((row) => row.tested)) pointing(body, board.pools);
    return dom.scrolling("Leaderboard", h("table", { class: "board" }, h("thead", {}, head(shape)), body));
  }

  /** Ranked rows with those that only stand beside them at their value. */
  const inOrder = (pool) => [...pool.rows, ...pool.references].sort((a, b) => b.worth - a.worth || (a.rank || 0) - (b.rank || 0));

  /** The first rows and all baselines; `more` stands for the rows that would be in its place. */
  function cut(rows) {
    const kept = [];
    let count = 0;
    for (const row of rows) {
      if (row.kind === "baseline" || (count += 1) <= LONGEST) kept.push(row);
      else if (kept.at(-1).more) kept.at(-1).more.push(row);
      else kept.push({ more: [row] });
    }
    return kept;
  }

  /** How many rows are left out, and how to see them. */
  function more(rows, columns) {
    const ranked = rows.filter((row) => row.rank).length;
    const counts = [[ranked, "SAE"], [rows.length - ranked, "control"]].filter(([count]) => count);
    const said = counts.map(([count, kind]) => `${format.number(count)} more ${kind}${count === 1 ? "" : "s"}`).join(" and ");
    return h("tr", { class: "more" }, h("td", { colspan: columns }, `${said} here: choose fewer by the filters or the search above to see ${rows.length === 1 ? "it" : "them"}.`));
  }

  function head(shape) {
    const other = ([full, { metric, name }]) => h("th", { scope: "col", class: "number" }, h("button", { type: "button", class: "sort", title: "rank by it", onclick: () => shape.onrank(full) }, `${metric}: ${format.words(name)}`));
    return h(
      "tr",
      {},
      h("th", { scope: "col", class: "number rank", title: "the rank, and those that noise leaves open" }, "Rank"),
      shape.lanes ? h("th", { scope: "colgroup", colspan: shape.lanes, class: "letters", title: "SAEs that share a letter are told apart by no more than noise" }, "Alike") : null,
      h("th", { scope: "col", class: "name" }, "SAE"),
      h("th", { scope: "col", class: "number chosen" }, format.words(shape.name), estimates.direction(shape.better)),
      h("th", { scope: "col", class: "number", title: "active latents per token" }, "L0"),
      shape.fields.map((field) => h("th", { scope: "col", class: numeric(field) }, SHORT[field])),
      shape.others.map(other),
      shape.linked ? h("th", { scope: "col" }, "Links") : null,
    );
  }

  const numeric = (field) => (field === "layer" || field === "width" ? "number" : null);

  /** In which columns a row has a letter, or stands between two that have one. */
  function lettered(row, lanes, groups) {
    return lanes.map((lane) => {
      const group = lane.find((each) => each[0].rank <= row.rank && row.rank <= each.at(-1).rank);
      return group ? { letter: letter(groups.indexOf(group)), member: group.includes(row), first: group[0] === row, last: group.at(-1) === row } : null;
    });
  }

  const letter = (i) => (i < 26 ? String.fromCharCode(97 + i) : letter(Math.floor(i / 26) - 1) + letter(i % 26));

  function ranked(row, shape, letters) {
    const open = shape.open ? h("span", { class: "open", title: "ranks that noise leaves open" }, row.tested && row.best !== row.worst ? `${row.best}–${row.worst}` : "") : null;
    return h(
      "tr",
      { "data-place": row.place },
      h("td", { class: "number rank" }, h("b", {}, row.rank), open),
      Array.from({ length: shape.lanes }, (_, lane) => lettering(letters[lane])),
      named(row),
      value(row, shape),
      ...about(row, shape),
      shape.linked ? h("td", { class: "links" }, row.neuronpedia) : null,
    );
  }

  /** The name, with a link to what the SAE depends on. */
  const named = ({ sae }) => h("th", { scope: "row", class: sae.name.length > LONG ? "name long" : "name" }, h("a", { href: router.address(["config"], { sae: sae.name }) }, h("bdi", {}, sae.name)));

  /** The number; over how many units it is stands in a column of its own, so that points stay below each other. */
  const value = (row, shape) => h("td", { class: "number chosen" }, estimates.shown(row.estimate, null, shape.parts(row.estimate)), shape.units ? h("span", { class: "units" }, row.units ? `n=${row.units}` : "") : null);

  /** A letter in its column; a line where the group goes on further down. */
  function lettering(at) {
    if (!at) return h("td", { class: "lane" });
    const ends = `${at.first ? " first" : ""}${at.last ? " last" : ""}`;
    return h("td", { class: `lane ${at.member ? "member" : "between"}${ends}` }, at.member ? h("span", {}, at.letter) : null);
  }

  /** What a row is, and its other numbers. */
  function about(row, shape) {
    const l0 = row.l0 ? h("td", { class: "number" }, l0Text(row.l0)) : h("td", { class: "number dim" }, "–");
    const fields = shape.fields.map((field) => h("td", { class: numeric(field) }, row.about ? h("bdi", {}, leaderboardFilters.value(row.about, field)) : ""));
    const others = shape.others.map(([full]) => h("td", { class: "number" }, row.other ? other(row.other(full)) : ""));
    return [l0, ...fields, ...others];
  }

  /** Another number, without its error, for which there is no room. */
  const other = (each) => h("span", { title: each && each.value !== null ? format.estimate(each.value, each.stderr) : each?.reason || "not evaluated" }, each ? format.parts(each.value, each.stderr).value : "–");

  const l0Text = (each) => h("span", { title: format.estimate(each.value, each.stderr) }, each.value === null ? "–" : each.value < 100 ? each.value.toFixed(1) : format.number(Math.round(each.value)));

  /** A baseline or a control: it has a value, and no rank among SAEs. */
  function reference(row, shape) {
    return h(
      "tr",
      { class: "reference" },
      h("td", { class: "rank", colspan: 1 + shape.lanes }, h("span", { class: "hidden" }, "no rank")),
      h("th", { scope: "row", class: "name long" }, h("bdi", {}, row.label), " ", h("span", { class: "tag" }, row.kind)),
      value(row, shape),
      ...about(row, shape),
      shape.linked ? h("td", {}) : null,
    );
  }

  /** An SAE without a value, and why it has none. */
  function missing(row, shape) {
    return h(
      "tr",
      { class: "missing" },
      h("td", { class: "number rank", colspan: 1 + shape.lanes }, "–"),
      named(row),
      h("td", { class: "reason" }, row.reason),
      ...about(row, shape),
      shape.linked ? h("td", { class: "links" }, row.neuronpedia) : null,
    );
  }

  /** Marks, for the row that is pointed at or has the focus, those that noise cannot tell from it. */
  function pointing(body, pools) {
    const rows = new Map(pools.flatMap((pool) => pool.rows.map((row) => [String(row.place), { row, pool }])));
    const mark = (event) => {
      const at = rows.get(event.target.closest?.("tr")?.dataset.place);
      for (const element of body.querySelectorAll("tr[data-place]")) {
        const other = rows.get(element.dataset.place);
        element.classList.toggle("alike", Boolean(at && other.pool === at.pool && other !== at && leaderboardRanks.alike(at.row, other.row)));
      }
    };
    for (const name of ["mouseover", "focusin"]) body.addEventListener(name, mark);
    for (const name of ["mouseleave", "focusout"]) body.addEventListener(name, () => mark({ target: body }));
  }

  return { table };
})();
