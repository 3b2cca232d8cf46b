/** All figures, by metric. */
const figuresView = (() => {
  async function render() {
    const figures = await store.value("figures");
    const page = h("div", { class: "view" }, h("h1", {}, "Figures"));
    const sections = new Map();
    for (const figure of figures) {
      const metric = figure.name.split("/")[0];
      sections.set(metric, [...(sections.get(metric) || []), figure]);
    }
    if (!figures.length) page.append(h("p", {}, "There is nothing to draw."));
    if (sections.size > 1) page.append(contents(sections));
    for (const [metric, some] of sections) page.append(h("section", { id: `figures-${metric}` }, h("h2", {}, title(metric)), h("div", { class: "figures" }, some.map(drawn))));
    return { title: "Figures", page };
  }

  /** What a section is called: by its metric, or by itself. */
  function title(section) {
    const guide = saes.guide(section);
    return guide ? guide.title : section.charAt(0).toUpperCase() + format.words(section.slice(1));
  }

  /** Jumps within the view; these are buttons, as an address belongs to a whole view. */
  function contents(sections) {
    const jump = (metric) => document.getElementById(`figures-${metric}`).scrollIntoView({ block: "start" });
    return h("p", { class: "jump" }, [...sections.keys()].map((metric) => h("button", { type: "button", class: "pill", onclick: () => jump(metric) }, title(metric))));
  }

  function drawn(figure) {
    return h("figure", { class: "card" }, h("h3", {}, figure.title), plots.lazy(figure.plotly, figure.title), h("figcaption", {}, figure.caption));
  }

  return { render };
})();
