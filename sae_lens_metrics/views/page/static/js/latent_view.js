/** One latent: its numbers among all others, its explanation, and text on which it fires. */
const latentView = (() => {
  const KINDS = { top: "Largest activations (second half of the text)", random: "Random activations (first half)", predicted: "Random predictions (second half)" };
  let wrap = false;

  async function render({ path }) {
    const sae = saes.named(path[1]);
    if (!sae) return saes.missing("Latent", saes.unknown(path[1]));
    const table = await latentTable.of(sae);
    const latent = Number(path[2]);
    const i = table.row.get(latent);
    if (i === undefined) return saes.missing("Latent", `No metric has looked at latent ${path[2] ?? ""} of ${sae.name}.`);
    const report = await saes.overview(sae);
    const onwards = affectedBy(report);
    const page = h("div", { class: "view" }, steps(sae, table, i), h("h1", {}, `Latent ${latent}`));
    page.append(h("p", { class: "about" }, h("a", { href: router.address(["latents"], { sae: sae.name }) }, h("bdi", {}, sae.name)), neuronpedia(report, latent)));
    page.append(numbers(table, i, onwards), ...probes(table, latent), ...explanation(table, i), await examples(sae, latent), ...ablation(table, i, onwards));
    return { title: `Latent ${latent}`, page };
  }

  /** To the latents before and after, and to any. */
  function steps(sae, table, i) {
    const { latent } = table.columns;
    const to = (place, text, rel) => (place >= 0 && place < latent.length ? h("a", { class: "button", rel, href: router.address(["latent", sae.name, latent[place]]) }, text) : h("span", { class: "button off" }, text));
    const random = h("button", { type: "button", id: "random", onclick: () => router.go(["latent", sae.name, latent[Math.floor(Math.random() * latent.length)]]) }, "Random latent");
    return h("nav", { class: "steps", "aria-label": "Other latents" }, to(i - 1, "← Previous", "prev"), to(i + 1, "Next →", "next"), random);
  }

  function neuronpedia(report, latent) {
    const id = report.provenance.sae?.neuronpedia_id;
    if (typeof id !== "string" || !/^[\w.-]+(\/[\w.-]+)+$/.test(id)) return null;
    return h("a", { href: `https://neuronpedia.org/${id}/${latent}`, rel: "noopener noreferrer", target: "_blank" }, "on Neuronpedia ↗");
  }

  /** Each number with where it stands among the other latents. */
  function numbers(table, i, onwards) {
    const { columns } = table;
    const cards = table.fields.filter((field) => columns[field.key][i] !== null).map((field) => {
      const value = columns[field.key][i];
      const values = latentTable.sortedValues(table, field.key);
      const { rank, of, share } = statistics.standing(values, value);
      const place = `rank ${rank.toLocaleString("en")} of ${of.toLocaleString("en")} · above ${format.percent(share, 3)}`;
      const bins = statistics.histogram(values, field.log);
      const ends = h("div", { class: "ends dim" }, h("span", {}, field.show(bins.first, 2)), h("span", {}, field.show(bins.last, 2)), bins.log ? h("span", { class: "scale" }, "logarithmic") : null);
      return h("div", { class: "stat", title: field.title }, h("div", { class: "what" }, field.label), h("div", { class: "big" }, field.show(value)), h("div", { class: "dim small" }, place), marks.histogram(bins, value, `${field.label} of all latents; this one: ${place}`), ends);
    });
    const facts = factsOf(columns, i, onwards).map((fact) => h("span", {}, fact));
    return h("section", { "aria-label": "Numbers" }, h("div", { class: "stats" }, cards), facts.length ? h("p", { class: "about" }, facts) : null);
  }

  /** The tokens over which an effect is measured, of which the ablated one is the first. */
  function affectedBy(report) {
    const count = report.provenance.config?.ablation?.tokens;
    return `${Number.isInteger(count) ? `${count} ` : ""}tokens from there on`;
  }

  /** What belongs to the numbers. */
  function factsOf(columns, i, onwards) {
    const count = (name) => columns[name]?.[i]?.toLocaleString("en") ?? null;
    const [fired, predicted, ablations] = ["fired", "predicted", "ablations"].map(count);
    const half = [fired === null ? null : `fires on ${fired}`, predicted === null ? null : `predicted on ${predicted}`].filter(Boolean);
    const touched = columns.tokens_affected?.[i] ?? null;
    return [
      half.length ? `${half.join(" and ")} tokens of the second half` : null,
      ablations === null ? null : `ablated at ${ablations} positions`,
      touched === null ? null : `touches ${format.percent(touched)} of the ${onwards}`,
    ].filter(Boolean);
  }

  function probes(table, latent) {
    const tasks = table.best.get(latent);
    if (!tasks) return [];
    const columns = [
      { key: "task", label: "Task", cell: (task) => task.task },
      { key: "loss", label: "Loss, nats", numeric: true, cell: (task) => format.number(task.loss) },
      { key: "held_out_loss", label: "… held out", numeric: true, cell: (task) => format.number(task.held_out_loss) },
      { key: "held_out_accuracy", label: "Accuracy there", numeric: true, cell: (task) => format.number(task.held_out_accuracy) },
      { key: "channels_loss", label: "Best channel", numeric: true, cell: (task) => format.number(task.channels_loss) },
      { key: "random_loss", label: "Best random direction", numeric: true, cell: (task) => format.number(task.random_loss) },
    ].filter(({ key }) => tasks.some((task) => task[key] !== null && task[key] !== undefined));
    return [h("section", { class: "card" }, h("h2", {}, "Best latent for these probe tasks"), tables.sortable(columns, tasks, { label: "Probe tasks" }))];
  }

  function explanation(table, i) {
    const ngrams = table.explanations.of(table.columns.latent[i]);
    if (!ngrams.length) return [];
    const box = h("section", { class: "card" }, h("h2", {}, "Explanation"));
    box.append(h("p", { class: "dim" }, "Predicted to fire where the text ends like one of these n-grams; the number is the activation predicted there. ^ is the document's start, ∗ any token."));
    box.append(h("ol", { class: "ngrams" }, ngrams.map((ngram) => h("li", {}, h("span", { class: "predicts" }, format.number(ngram.value, 3)), tokens.chips(ngram)))));
    return [box];
  }

  async function examples(sae, latent) {
    const found = await saes.examples(sae, latent);
    if (!found.length) return h("section", { class: "card examples" }, h("h2", {}, "Examples"), h("p", { class: "dim" }, "There are no examples of this latent."));
    const most = {
      activation: Math.max(...found.flatMap((each) => each.activations).map(Math.abs)),
      prediction: Math.max(...found.flatMap((each) => each.predictions).map(Math.abs)),
    };
    const kinds = [...Object.keys(KINDS).filter((kind) => found.some((each) => each.kind === kind)), ...new Set(found.map((each) => each.kind).filter((kind) => !Object.hasOwn(KINDS, kind)))];
    const list = h("div", {});
    const draw = () =>
      list.replaceChildren(
        ...kinds.flatMap((kind) => {
          const mine = found.filter((each) => each.kind === kind);
          return [h("h3", {}, Object.hasOwn(KINDS, kind) ? KINDS[kind] : kind), ...mine.map((each) => shown(each, most))];
        }),
      );
    const box = h("input", { type: "checkbox", id: dom.id(), checked: wrap, onchange: () => ((wrap = box.checked), draw()) });
    draw();
    return h("section", { class: "card examples" }, h("div", { class: "line" }, h("h2", {}, "Examples"), h("div", { class: "check" }, box, h("label", { for: box.id }, "break lines at ↵"))), legend(), list);
  }

  /** An example with the numbers of its token in front. */
  function shown(each, most) {
    const numbers = h("span", { class: "at-value" }, format.number(each.activations[each.at] ?? 0, 3), h("span", { class: "dim" }, ` / ${format.number(each.predictions[each.at] ?? 0, 3)}`));
    return h("div", { class: "shown" }, numbers, tokens.example(each, most, wrap));
  }

  const legend = () =>
    h("p", { class: "dim" }, h("span", { class: "fires", style: { "--a": "0.5" } }, "background"), ": how strongly the latent fires. ", h("span", { class: "predicted", style: { "--p": "1" } }, "underline"), ": what its explanation predicts. ", h("span", { class: "at" }, "frame"), ": the token in question, whose activation and prediction stand in front.");

  function ablation(table, i, onwards) {
    const changes = (side) => table.effects.of(table.columns.latent[i], side);
    const sides = [["Raised", changes("raised")], ["Lowered", changes("lowered")]].filter(([, found]) => found.length);
    if (!sides.length) return [];
    const said = h("p", { class: "dim" }, `Of its ablation with the largest effect: how much the logits of these tokens change, summed over the ${onwards}, around the median of the vocabulary.`);
    const item = ({ text, by }) => h("li", {}, h("span", { class: "chip" }, tokens.short(text)), h("span", { class: "number" }, `${by > 0 ? "+" : ""}${format.number(by, 3)}`));
    const list = ([name, found]) => h("div", {}, h("h3", {}, name), h("ul", { class: "effects" }, found.map(item)));
    return [h("section", { class: "card" }, h("h2", {}, "Without it, these tokens become"), said, h("div", { class: "sides" }, sides.map(list)))];
  }

  return { render };
})();
