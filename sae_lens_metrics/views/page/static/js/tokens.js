/** Text of tokens, explanations and examples. */
const tokens = (() => {
  const LONGEST = 200; // characters of a token that are shown; the rest is in its tooltip

  /** A token whose line breaks, tabs and outer spaces can be seen; `wrap` breaks the line after a line break. */
  function shown(token, wrap) {
    const text = format.cut(format.visible(token), LONGEST).replace(/\t/g, "⇥");
    return text.replace(/\n/g, wrap ? "↵\n" : "↵");
  }

  /** A token in a chip: runs of spaces, which code is full of, as their number. */
  const short = (token) => shown(token, false).replace(/ {3,}/g, (spaces) => `␣×${spaces.length}`);

  /** One n-gram as chips. */
  function chips(ngram) {
    const start = ngram.at_start ? [h("span", { class: "chip wild", title: "the document's start" }, "^")] : [];
    const each = ngram.texts.map((text, i) =>
      text === null ? h("span", { class: "chip wild", title: "any token" }, "∗") : h("span", { class: "chip", title: ngram.tokens[i] === null ? null : `token ${ngram.tokens[i]}` }, short(text)),
    );
    return h("span", { class: "ngram", dir: "ltr" }, start, each);
  }

  /** The first n-grams of an explanation in a line. */
  function brief(ngrams, most = 3) {
    if (!ngrams.length) return h("span", { class: "dim" }, "–");
    const more = ngrams.length > most ? h("span", { class: "dim" }, ` + ${ngrams.length - most} more`) : null;
    return h("span", { class: "brief" }, ngrams.slice(0, most).map(chips), more);
  }

  /** The first of some tokens whose logits change. */
  const written = (changes, most = 3) => h("span", { class: "brief" }, changes.slice(0, most).map(({ text }) => h("span", { class: "chip" }, short(text))));

  /**
   * An example: what the latent is on each token as background, what its explanation predicts as underline (Figure 7 of the paper).
   * @param {Object} example with tokens, activations, predictions and at
   * @param {{activation: number, prediction: number}} most the largest of this latent's examples
   * @param {boolean} wrap whether lines are broken where the text breaks them
   */
  function example({ tokens: texts, activations, predictions, at }, most, wrap) {
    const box = h("p", { class: wrap ? "example wrapped" : "example", dir: "ltr" });
    texts.forEach((text, i) => {
      const active = activations[i] || 0;
      const predicted = predictions[i] || 0;
      if (!active && !predicted && i !== at) return box.append(shown(text, wrap));
      const title = `latent ${format.number(active, 3)}, predicted ${format.number(predicted, 3)}`;
      const style = {};
      if (active && most.activation) style["--a"] = (0.12 + 0.88 * Math.min(1, Math.abs(active) / most.activation)).toFixed(3);
      if (predicted && most.prediction) style["--p"] = (0.25 + 0.75 * Math.min(1, Math.abs(predicted) / most.prediction)).toFixed(3);
      const kinds = [active ? "fires" : null, Math.abs(active) > 0.55 * most.activation ? "strong" : null, predicted ? "predicted" : null, i === at ? "at" : null];
      return box.append(h("span", { class: kinds.filter(Boolean).join(" "), style, title: `${format.cut(text, 2000)}\n${title}` }, shown(text, wrap)));
    });
    return box;
  }

  return { shown, short, chips, brief, written, example };
})();
