/** Any number against any other, over SAEs or over training. */
const exploreView = (() => {
  const { plain } = plots;
  const GROUPS = { none: "nothing", architecture: "architecture", model_name: "model", hook_name: "hook", d_sae: "number of latents", context_size: "context", run: "run" };

  async function render({ query }) {
    const points = { saes: await fromReports(), training: await fromHistories() };
    const kinds = Object.keys(points).filter((kind) => points[kind].length);
    const from = kinds.includes(query.from) ? query.from : points.saes.length > 1 || kinds.length === 1 ? kinds[0] : kinds[kinds.length - 1];
    const mine = points[from] || [];
    const names = numbers(mine);
    const wanted = { x: from === "training" ? "step" : "sanity/l0", y: "sanity/explained_variance" };
    const pick = (name, fallback) => (names.includes(name) ? name : names.includes(fallback) ? fallback : names[0]);
    const state = { from, x: pick(query.x, wanted.x), y: pick(query.y, wanted.y), by: groupsOf(mine).some(([key]) => key === query.by) ? query.by : "run", logx: query.logx || "", logy: query.logy || "" };
    const change = (key) => (value) => router.go(["explore"], { ...state, ...(key === "from" ? { x: "", y: "" } : {}), [key]: value });
    const page = h("div", { class: "view" }, h("h1", {}, "Explore"), h("p", { class: "about" }, "Any number against any other. Lines to the sides of a point are one standard error."));
    if (!mine.length) return { title: "Explore", page: (page.append(h("p", {}, "There are no numbers.")), page) };
    page.append(controls(kinds, names, state, change, mine), plot(mine, state), table(mine, state));
    return { title: "Explore", page };
  }

  async function fromReports() {
    const reports = await saes.overviews();
    return saes.all().map(({ name }, i) => {
      const { sae = {}, config = {} } = reports[i].provenance;
      const values = {};
      const errors = {};
      for (const [metric, result] of Object.entries(saes.results(reports[i]))) {
        for (const [number, each] of Object.entries(result.estimates)) {
          values[`${metric}/${number}`] = each.value;
          errors[`${metric}/${number}`] = each.stderr;
        }
      }
      values.d_sae = sae.d_sae ?? null;
      return { name, values, errors, order: i, groups: { ...config, ...sae, run: name } };
    });
  }

  async function fromHistories() {
    const histories = await store.value("histories");
    return Object.entries(histories).flatMap(([run, points]) =>
      points.map(({ step, samples, final, values: all }, i) => {
        const values = { step, samples };
        const errors = {};
        for (const [name, value] of Object.entries(all)) {
          if (name.endsWith("_stderr") && name.slice(0, -7) in all) errors[name.slice(0, -7)] = value;
          else if (!(name.endsWith("_n") && name.slice(0, -2) in all)) values[name] = value; // over how many units another number is
        }
        return { name: `${run}, step ${step}${final ? " (final)" : ""}`, values, errors, order: i, groups: { run } };
      }),
    );
  }

  /** Names of the numbers that any point has. */
  const numbers = (points) => [...new Set(points.flatMap((point) => Object.keys(point.values).filter((name) => point.values[name] !== null)))];

  /** What some points can be coloured by: keys and names. */
  const groupsOf = (points) => Object.entries(GROUPS).filter(([key]) => key === "none" || points.some((point) => point.groups[key] !== undefined && point.groups[key] !== null));

  /** A number's name as people say it. */
  function spoken(name) {
    const [metric, number] = name.split("/");
    if (!number) return { step: "training steps", samples: "activations trained on", d_sae: "number of latents" }[name] || format.words(name);
    const guide = saes.guide(metric);
    return `${guide ? guide.title : metric}: ${format.words(number)}`;
  }

  function controls(kinds, names, state, change, points) {
    const options = names.map((name) => [name, spoken(name)]);
    const check = (key, text) => {
      const box = h("input", { type: "checkbox", id: `explore-${key}`, checked: Boolean(state[key]), onchange: () => change(key)(box.checked ? "1" : "") });
      return h("div", { class: "check" }, box, h("label", { for: box.id }, text));
    };
    const keep = (key, select) => Object.assign(select, { id: `explore-${key}` });
    return h(
      "form",
      { class: "controls card", onsubmit: (event) => event.preventDefault() },
      kinds.length > 1 ? dom.labelled("Points", keep("from", dom.select([["saes", "SAEs"], ["training", "training"]], state.from, change("from")))) : null,
      dom.labelled("X axis", keep("x", dom.select(options, state.x, change("x")))),
      dom.labelled("Y axis", keep("y", dom.select(options, state.y, change("y")))),
      dom.labelled("Coloured by", keep("by", dom.select(groupsOf(points), state.by, change("by")))),
      h("div", { class: "checks" }, check("logx", "logarithmic X"), check("logy", "logarithmic Y")),
    );
  }

  function plot(points, { x, y, by, from, logx, logy }) {
    const traces = new Map(); // a line never leads from one run to another, whatever the colours are
    for (const point of points) {
      if (!drawable(point, x, logx) || !drawable(point, y, logy)) continue;
      const group = by === "none" ? "" : String(point.groups[by] ?? "unknown");
      const key = from === "training" ? point.groups.run : group;
      if (!traces.has(key)) traces.set(key, { group, some: [] });
      traces.get(key).some.push(point);
    }
    const groups = [...new Set([...traces.values()].map(({ group }) => group))];
    const bars = (some, name) => plots.bars(some.map((point) => point.errors[name]));
    const drawn = ({ group, some }, i) => ({
      type: "scatter",
      mode: from === "training" ? "lines+markers" : "markers",
      name: plain(group),
      x: some.map((point) => point.values[x]),
      y: some.map((point) => point.values[y]),
      error_x: bars(some, x),
      error_y: bars(some, y),
      text: some.map((point) => `${plain(point.name)}<br>${plain(spoken(x))} ${format.estimate(point.values[x], point.errors[x])}<br>${plain(spoken(y))} ${format.estimate(point.values[y], point.errors[y])}`),
      hovertemplate: "%{text}<extra></extra>",
      marker: { size: 10, ...plots.marker(i) },
      line: { color: plots.marker(i).color, width: 1.5 },
    });
    const data = [...traces.values()].map((trace) => drawn(trace, groups.indexOf(trace.group)));
    if (!data.length) return h("p", { class: "card" }, logx || logy ? "No point has both numbers above 0, as a logarithmic axis needs." : "No point has both numbers.");
    const layout = {
      height: 460,
      margin: { l: 60, r: 20, t: 20, b: 60 },
      showlegend: groups.length > 1,
      legend: { orientation: "h", y: -0.22 },
      xaxis: { title: { text: plain(spoken(x)) }, type: logx ? "log" : "linear" },
      yaxis: { title: { text: plain(spoken(y)) }, type: logy ? "log" : "linear" },
    };
    return h("div", { class: "card" }, plots.lazy({ data, layout }, `${spoken(y)} against ${spoken(x)}`));
  }

  const drawable = (point, name, log) => Number.isFinite(point.values[name]) && (!log || point.values[name] > 0);

  function table(points, { x, y, by }) {
    const column = (name) => ({ key: name, label: spoken(name), numeric: true, value: (point) => point.values[name], cell: (point) => format.estimate(point.values[name], point.errors[name]) });
    const group = by === "none" || by === "run" ? [] : [{ key: by, label: GROUPS[by], value: (point) => point.groups[by], cell: (point) => point.groups[by] ?? "–" }];
    const columns = [{ key: "name", label: "Name", cell: (point) => h("bdi", {}, point.name) }, ...group, column(x), ...(x === y ? [] : [column(y)])];
    return h("section", { class: "card" }, h("h2", {}, "These points"), tables.sortable(columns, points, { label: "The points shown" }));
  }

  return { render };
})();
