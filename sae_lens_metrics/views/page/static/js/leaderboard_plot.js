/** The number of a leaderboard against L0. */
const leaderboardPlot = (() => {
  const HEIGHT = 400;
  const LEVELS = 4; // lines whose labels a reader can tell apart

  /**
   * @param {string} name the number's name
   * @param {Object[]} rows those shown, with `sae`, `about`, `estimate` and `l0`
   * @param {Object[]} levels baselines, with `label` and `estimate`
   * @param {Object[]} controls SAEs that are bad on purpose, like rows
   * @param {string[]} architectures of all SAEs, so that each keeps its colour whichever are shown
   */
  function figure(name, rows, levels, controls, architectures) {
    const drawable = (row) => Number.isFinite(row.estimate?.value) && row.l0?.value > 0;
    const traces = architectures.map((architecture, i) => trace(architecture, plots.marker(i), rows.filter((row) => drawable(row) && leaderboardFilters.value(row.about, "architecture") === architecture), name));
    const bad = trace("controls", { color: theme.colour("edge"), symbol: "circle-open" }, controls.filter(drawable), name);
    const lines = levels.length > LEVELS ? [] : levels;
    const data = [...traces, { ...bad, error_x: {}, error_y: {} }].filter((each) => each.x.length);
    if (!data.length) return h("p", { class: "dim" }, "No SAE that is shown has both this number and an L0 above 0.");
    const layout = {
      height: HEIGHT,
      margin: { l: 56, r: 12, t: 12, b: 48 },
      showlegend: data.length > 1,
      legend: { orientation: "h", y: -0.2, font: { size: 12 } },
      xaxis: { title: { text: "L0: active latents per token" }, type: "log", ...ticks(data) },
      yaxis: { title: { text: plots.plain(format.words(name)) } },
      shapes: lines.map(({ estimate }) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: estimate.value, y1: estimate.value, line: { color: theme.colour("edge"), width: 1.2, dash: "dot" } })),
      annotations: lines.map(({ label, estimate }) => ({ xref: "paper", x: 1, xanchor: "right", y: estimate.value, yanchor: "bottom", text: plots.plain(label), showarrow: false, font: { size: 11, color: theme.colour("dim") } })),
    };
    return plots.lazy({ data, layout }, `${format.words(name)} against L0`);
  }

  /** Round numbers, closer to each other where the axis is short. */
  function ticks(data) {
    const x = data.flatMap((each) => each.x);
    const [low, high] = [Math.min(...x) / 1.2, Math.max(...x) * 1.2];
    const steps = high / low > 500 ? [1] : high / low > 30 ? [1, 3] : high / low > 8 ? [1, 2, 5] : [1, 1.5, 2, 3, 5, 7];
    const all = [];
    for (let decade = Math.floor(Math.log10(low)); decade <= Math.log10(high); decade += 1) all.push(...steps.map((step) => step * 10 ** decade));
    const there = all.filter((each) => low <= each && each <= high);
    return { tickvals: there, ticktext: there.map((each) => format.number(each)), range: [Math.log10(low), Math.log10(high)] };
  }

  function trace(group, marker, rows, name) {
    const said = (label, each) => `${plots.plain(label)} ${format.estimate(each.value, each.stderr)}`;
    return {
      type: "scatter",
      mode: "markers",
      name: plots.plain(group),
      x: rows.map((row) => row.l0.value),
      y: rows.map((row) => row.estimate.value),
      error_x: plots.bars(rows.map((row) => row.l0.stderr)),
      error_y: plots.bars(rows.map((row) => row.estimate.stderr)),
      text: rows.map((row) => [plots.plain(row.label ?? row.sae.name), said(format.words(name), row.estimate), said("L0", row.l0)].join("<br>")),
      hovertemplate: "%{text}<extra></extra>",
      marker: { size: 9, ...marker },
    };
  }

  return { figure };
})();
