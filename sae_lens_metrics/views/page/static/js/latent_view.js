/** One latent: what fires it and text on which it does, what it writes, its numbers among all others, and which latents are like it. */
const latentView = (() => {
  const KINDS = {
    top: "Largest activations (second half of the text)",
    random: "Random activations (first half)",
    wrong: "Wrongly predicted (second half)",
    predicted: "Rightly predicted (second half)",
  };
  const FIRST = 8; // rules, or n-grams, that are shown at once
  let wrap = false;

  async function render({ path }) {
    const sae = saes.named(path[1]);
    if (!sae) return saes.missing("Latent", saes.unknown(path[1]));
    const table = await latentTable.of(sae);
    const latent = Number(path[2]);
    const i = table.row.get(latent);
    if (i === undefined) return saes.missing("Latent", `No metric has looked at latent ${path[2] ?? ""} of ${sae.name}.`);
    const report = await saes.overview(sae);
    const found = await saes.examples(sae, latent);
    const rules = await explained.rules(sae);
    const page = h("div", { class: "view" }, steps(sae, table, i), h("h1", {}, `Latent ${latent}`));
    page.append(h("p", { class: "about" }, h("a", { href: router.address(["latents"], { sae: sae.name }) }, h("bdi", {}, sae.name)), saes.neuronpedia(report, latent), inShort(table, i)));
    page.append(...fires(table, i, found, rules.of(latent)), examples(found), ...table.effects.flatMap((effects) => changes(effects, latent, report)));
    page.append(...numbers(table, i, report), ...probes(table, latent), ...alike(sae, table, i, report));
    return { title: `Latent ${latent}`, page };
  }

  /** The numbers that a reader wants first. */
  function inShort(table, i) {
    const few = table.fields.filter((field) => (field.leading || field.percent) && table.columns[field.key][i] !== null);
    return few.map((field) => h("span", { title: field.title }, `${field.label} ${field.show(table.columns[field.key][i])}`));
  }

  /** To the latents before and after, and to any. */
  function steps(sae, table, i) {
    const { latent } = table.columns;
    const to = (place, text, rel) => (place >= 0 && place < latent.length ? h("a", { class: "button", rel, href: router.address(["latent", sae.name, latent[place]]) }, text) : h("span", { class: "button off" }, text));
    const random = h("button", { type: "button", id: "random", onclick: () => router.go(["latent", sae.name, latent[Math.floor(Math.random() * latent.length)]]) }, "Random latent");
    return h("nav", { class: "steps", "aria-label": "Other latents" }, to(i - 1, "← Previous", "prev"), to(i + 1, "Next →", "next"), random);
  }

  /** Each number with where it stands among the other latents. */
  function numbers(table, i, report) {
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
    const facts = factsOf(columns, i, report).map((fact) => h("span", {}, fact));
    if (!cards.length && !facts.length) return [];
    return [h("section", {}, h("h2", {}, "Among all latents"), facts.length ? h("p", { class: "about" }, facts) : null, h("div", { class: "stats" }, cards))];
  }

  /** What belongs to the numbers. */
  function factsOf(columns, i, report) {
    const count = (name) => columns[name]?.[i]?.toLocaleString("en") ?? null;
    const [fired, predicted, ablations] = ["fired", "predicted", "ablations"].map(count);
    const half = [fired === null ? null : `fires on ${fired}`, predicted === null ? null : `predicted on ${predicted}`].filter(Boolean);
    const touched = columns.tokens_affected?.[i] ?? null;
    const onwards = said("{tokens} tokens from there on", report, "ablation");
    return [
      half.length ? `${half.join(" and ")} tokens of the second half` : null,
      ablations === null ? null : `ablated at ${ablations} ${ablations === "1" ? "position" : "positions"}`,
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

  /** What fires it: each way to say so is a block of this card, rules in words before n-grams. */
  function fires(table, i, found, rules) {
    const blocks = [inWords(rules), ngrams(table, i, found)].filter(Boolean);
    return blocks.length ? [h("section", { class: "card" }, h("h2", {}, "What fires it"), blocks)] : [];
  }

  /** Its rules, those that gain most first. */
  function inWords(rules) {
    if (!rules.length) return null;
    const about = h("p", { class: "dim" }, "Rules that were learned from where it fires, those first that tell most; the number is the activation predicted there.");
    const item = ({ words, value }) => h("li", {}, h("span", { class: "predicts" }, value === null ? "" : format.number(value, 3)), h("span", {}, quoted(words)));
    const list = (some) => h("ol", { class: "ngrams rules" }, some.map(item));
    const rest = rules.slice(FIRST);
    return h("div", { class: "way" }, about, list(rules.slice(0, FIRST)), rest.length ? h("details", {}, h("summary", {}, `${rest.length} more`), list(rest)) : null);
  }

  /** Words with the tokens in them, which stand between backticks, as chips. */
  const quoted = (words) => words.split(/(`[^`]+`)/).map((part) => (/^`[^`]+`$/.test(part) ? h("span", { class: "chip" }, tokens.short(part.slice(1, -1))) : part));

  /** Its n-grams, those first that predict most often in its examples. */
  function ngrams(table, i, found) {
    const ordered = explained.byUse(table.explanations.of(table.columns.latent[i]), found);
    if (!ordered.length) return null;
    const used = ordered.some(({ uses }) => uses);
    const order = used ? " First come those that predict most often in the examples below (×)." : "";
    const about = h("p", { class: "dim" }, `Predicted to fire where the text ends like one of these n-grams; the number is the activation predicted there.${order} ^ is the document's start, ∗ any token.`);
    const item = (ngram) => h("li", {}, h("span", { class: "predicts" }, format.number(ngram.value, 3)), h("span", {}, tokens.chips(ngram), ngram.uses ? h("span", { class: "dim small", title: "how often it predicts in the examples" }, ` ×${ngram.uses}`) : null));
    const shown = ordered.slice(0, FIRST);
    const rest = ordered.slice(FIRST);
    const list = (some) => h("ol", { class: "ngrams" }, some.map(item));
    return h("div", { class: "way" }, about, list(shown), rest.length ? h("details", {}, h("summary", {}, `${rest.length} more`), list(rest)) : null);
  }

  function examples(found) {
    if (!found.length) return h("section", { class: "card examples" }, h("h2", {}, "Examples"), h("p", { class: "dim" }, "There are no examples of this latent."));
    const most = {
      activation: Math.max(...found.flatMap((each) => each.activations).map(Math.abs)),
      prediction: Math.max(...found.flatMap((each) => each.predictions).map(Math.abs)),
    };
    const kinds = [...Object.keys(KINDS).filter((kind) => found.some((each) => kindOf(each) === kind)), ...new Set(found.map(kindOf).filter((kind) => !Object.hasOwn(KINDS, kind)))];
    const list = h("div", {});
    const draw = () =>
      list.replaceChildren(
        ...kinds.flatMap((kind) => {
          const mine = found.filter((each) => kindOf(each) === kind);
          return [h("h3", {}, Object.hasOwn(KINDS, kind) ? KINDS[kind] : kind), ...mine.map((each) => shown(each, most))];
        }),
      );
    const box = h("input", { type: "checkbox", id: dom.id(), checked: wrap, onchange: () => ((wrap = box.checked), draw()) });
    draw();
    return h("section", { class: "card examples" }, h("div", { class: "line" }, h("h2", {}, "Examples"), h("div", { class: "check" }, box, h("label", { for: box.id }, "break lines at ↵"))), legend(), list);
  }

  /** Which group an example belongs to: what is predicted where the latent does not fire is told from what is rightly predicted. */
  const kindOf = ({ kind, activations, at }) => (kind === "predicted" && !activations[at] ? "wrong" : kind);

  /** An example with the numbers of its token in front. */
  function shown(each, most) {
    const numbers = h("span", { class: "at-value" }, format.number(each.activations[each.at] ?? 0, 3), h("span", { class: "dim" }, ` / ${format.number(each.predictions[each.at] ?? 0, 3)}`));
    return h("div", { class: "shown" }, numbers, tokens.example(each, most, wrap));
  }

  const legend = () =>
    h("p", { class: "dim" }, h("span", { class: "fires", style: { "--a": "0.5" } }, "background"), ": how strongly the latent fires. ", h("span", { class: "predicted", style: { "--p": "1" } }, "underline"), ": what its explanation predicts. ", h("span", { class: "at" }, "frame"), ": the token in question, whose activation and prediction stand in front.");

  /** The tokens whose logits it changes, in one way: by what it writes, or where it is taken away. */
  function changes(effects, latent, report) {
    const sides = [["Raised", effects.of(latent, "raised")], ["Lowered", effects.of(latent, "lowered")]].filter(([, found]) => found.length);
    if (!sides.length) return [];
    const item = ({ text, by }) => h("li", {}, h("span", { class: "chip" }, tokens.short(text)), h("span", { class: "number" }, `${by > 0 ? "+" : ""}${format.number(by, 3)}`));
    const list = ([name, found]) => h("div", {}, h("h3", {}, name), h("ul", { class: "effects" }, found.map(item)));
    const about = effects.meaning ? h("p", { class: "dim" }, said(effects.meaning, report, effects.metric)) : null;
    return [h("section", { class: "card" }, h("h2", {}, effects.title), about, h("div", { class: "sides" }, sides.map(list)))];
  }

  /** A sentence in which `{name}` stands for a setting of a metric; one that the result does not tell is left out. */
  function said(sentence, report, metric) {
    const settings = report.provenance.config?.[metric] || {};
    return sentence.replace(/\{(\w+)\} /g, (whole, name) => (Number.isFinite(settings[name]) ? `${settings[name]} ` : ""));
  }

  /** The latents whose decoder rows are nearest, with what fires them and what they write; and its match in a second SAE. */
  function alike(sae, table, i, report) {
    const { columns } = table;
    const near = [["nearest", "max_cosine"], ...[2, 3, 4, 5, 6, 7, 8].map((place) => [`nearest_${place}`, `cosine_${place}`])];
    const rows = near.map(([latent, cosine]) => ({ latent: columns[latent]?.[i], cosine: columns[cosine]?.[i] })).filter(({ latent }) => Number.isInteger(latent));
    if (!rows.length) return [];
    const writes = table.effects.find((each) => each.column);
    const shown = [
      { key: "latent", label: "Latent", numeric: true, cell: ({ latent }) => h("a", { href: router.address(["latent", sae.name, latent]) }, latent) },
      { key: "cosine", label: "Cosine", numeric: true, cell: ({ cosine }) => format.number(cosine, 3) },
      ...(table.explanations.latent.length ? [{ key: "fires", label: "What fires it", value: ({ latent }) => table.explanations.text(latent), cell: ({ latent }) => tokens.brief(table.explanations.of(latent)) }] : []),
      ...(writes ? [{ key: "writes", label: writes.column, value: ({ latent }) => writes.text(latent, "raised"), cell: ({ latent }) => tokens.written(writes.of(latent, "raised")) }] : []),
    ];
    const against = String(report.provenance.config?.directions?.against || "the second SAE").split("/").slice(-2).join("/");
    const match = columns.match?.[i];
    const matched = Number.isInteger(match) ? h("p", { class: "about" }, h("span", {}, `Best match in ${format.cut(against, 80)}: latent ${match}, cosine ${format.number(columns.match_cosine?.[i], 3)}, correlation of activations ${format.number(columns.match_correlation?.[i], 3)}`)) : null;
    return [h("section", { class: "card" }, h("h2", {}, "Nearest latents by the decoder"), matched, tables.sortable(shown, rows, { label: "Nearest latents" }))];
  }

  return { render };
})();
