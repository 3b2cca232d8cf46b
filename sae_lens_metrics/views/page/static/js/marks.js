/** Small drawings beside numbers. */
const marks = (() => {
  const WIDTH = 180;
  const HEIGHT = 22;

  /** A common scale for estimates and baselines, with some space at both ends. */
  function scale(estimates, baselines = []) {
    const ends = estimates
      .filter((each) => each && each.value !== null)
      .flatMap((each) => [each.value - (each.stderr || 0), each.value + (each.stderr || 0)]);
    const all = [...ends, ...baselines];
    if (!all.length) return null;
    const low = Math.min(...all);
    const high = Math.max(...all);
    const space = (high - low || Math.abs(high) || 1) * 0.06;
    return (value) => ((value - low + space) / (high - low + 2 * space)) * WIDTH;
  }

  /** An estimate as a dot with a line of one standard error to either side, and baselines as strokes. */
  function dot(estimate, place, baselines = []) {
    const y = HEIGHT / 2;
    const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "dot", preserveAspectRatio: "xMinYMid", "aria-hidden": "true" });
    picture.append(svg("line", { x1: 0, x2: WIDTH, y1: y, y2: y, class: "axis" }));
    for (const [name, value] of baselines) {
      const x = place(value);
      const title = svg("title", {}, `${name}: ${format.number(value)}`);
      picture.append(svg("line", { x1: x, x2: x, y1: 4, y2: HEIGHT - 4, class: "baseline" }, title));
    }
    if (!estimate || estimate.value === null) return picture;
    const reach = estimate.stderr || 0;
    if (reach) picture.append(svg("line", { x1: place(estimate.value - reach), x2: place(estimate.value + reach), y1: y, y2: y, class: "error" }));
    picture.append(svg("circle", { cx: place(estimate.value), cy: y, r: 4.5 }));
    return picture;
  }

  /** A histogram in which the bin of one value is marked. */
  function histogram(bins, value, text) {
    const height = 56;
    const step = 200 / bins.counts.length;
    const most = Math.max(...bins.counts);
    const marked = bins.bin(value);
    const picture = svg("svg", { viewBox: `0 0 200 ${height}`, class: "histogram", role: "img", "aria-label": text, preserveAspectRatio: "none" });
    bins.counts.forEach((count, i) => {
      const size = count ? Math.max(1.5, (count / most) * (height - 8)) : 0;
      const properties = { x: i * step + 0.5, width: step - 1, y: height - size, height: size, class: i === marked ? "marked" : "bin" };
      picture.append(svg("rect", properties));
    });
    const x = (marked + 0.5) * step;
    picture.append(svg("path", { d: `M${x - 4} 0h8l-4 6z`, class: "marked" }));
    return picture;
  }

  return { scale, dot, histogram };
})();
