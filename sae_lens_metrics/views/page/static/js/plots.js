/** Figures, drawn by plotly, which is started when the first one is shown. */
const plots = (() => {
  const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "x", "star", "triangle-down"];
  let started = null;
  const drawn = new Set();

  /** Runs plotly's source as a script element: the page's policy lets in this very text and no other. */
  async function library() {
    const source = await store.text("plotly");
    const script = h("script");
    script.textContent = source;
    document.head.append(script);
    script.remove();
    if (!window.Plotly) throw new Error("figures could not be started in this browser");
    return window.Plotly;
  }

  /** Text that plotly, which reads some tags, shows as it is. */
  const plain = (text) => format.cut(format.visible(text), 120).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  /** Lines to the sides of points, one standard error long; none where no point has an error. */
  const bars = (errors) => ({ type: "data", array: errors.map((error) => error ?? 0), visible: errors.some(Boolean), thickness: 1.2, width: 3 });

  /** The colour and the symbol of a group of points, by its place among the groups. */
  const marker = (place) => ({ color: saes.contents().colours[place % saes.contents().colours.length], symbol: SYMBOLS[place % SYMBOLS.length] });

  const start = () => (started ||= library());

  /** An axis in the page's colours; names of categories are broken into lines, and the first of them is no zero. */
  function axis(given = {}, across = false) {
    const line = theme.colour("line");
    const names = across && given.ticktext ? { ticktext: given.ticktext.map((text) => text.replace(/(.{5,}?) /g, "$1<br>")), tickangle: "auto" } : {};
    const title = given.title ? { title: { ...given.title, font: { size: 13 } } } : {};
    return { ...given, ...names, ...title, zeroline: !given.ticktext, gridcolor: line, linecolor: theme.colour("edge"), zerolinecolor: theme.colour("edge"), tickcolor: theme.colour("edge"), automargin: true };
  }

  /** A layout in the page's colours. */
  function themed(layout) {
    const text = theme.colour("text");
    const own = {
      ...layout,
      autosize: true,
      width: undefined,
      title: undefined,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { ...(layout.font || {}), color: text, family: getComputedStyle(document.body).fontFamily, size: 13 },
      hoverlabel: { bgcolor: theme.colour("raised"), bordercolor: theme.colour("edge"), font: { color: text } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: theme.colour("dim"), activecolor: text },
      template: undefined,
    };
    for (const name of Object.keys({ xaxis: 0, yaxis: 0, ...layout })) if (/^[xy]axis\d*$/.test(name)) own[name] = axis(layout[name], name[0] === "x");
    return own;
  }

  /** Draws a figure, or draws it again in the present colours. */
  async function draw(box, { data, layout }) {
    const plotly = await start();
    if (!box.isConnected) return; // the reader went on meanwhile
    const copy = structuredClone(data); // plotly writes into what it is given
    const config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"], displayModeBar: "hover", topojsonURL: "" };
    await plotly.react(box, copy, themed(structuredClone(layout)), config);
    box.classList.add("drawn");
  }

  const waiting = new Map();
  const observer = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting || !waiting.has(target)) continue;
        observer.unobserve(target);
        drawn.add(target);
        draw(target, waiting.get(target)).catch((error) => target.replaceChildren(h("p", { class: "failed" }, error.message)));
      }
    },
    { rootMargin: "300px" },
  );

  /** A figure that is drawn when it comes near the screen. */
  function lazy(figure, label) {
    const box = h("div", { class: "plot", role: "group", "aria-label": label, style: { "min-height": `${figure.layout.height || 360}px` } });
    waiting.set(box, figure);
    observer.observe(box);
    return box;
  }

  /** Forgets figures that are on the page no more. */
  function sweep() {
    for (const box of [...waiting.keys()]) {
      if (box.isConnected) continue;
      observer.unobserve(box);
      if (drawn.delete(box)) window.Plotly?.purge(box);
      waiting.delete(box);
    }
  }

  theme.onchange(() => {
    for (const box of drawn) draw(box, waiting.get(box));
  });

  return { plain, bars, marker, lazy, sweep };
})();
