/** Text of tokens, explanations and examples. */
const tokens = (() => {
  const LONGEST = 200; // characters of a token that are shown; the rest is in its tooltip

  /** A token whose line breaks, tabs and outer spaces can be seen; `wrap` breaks the line after a line break. */
  function shown(token, wrap) {
    const text = format.cut(format.visible(token), LONGEST).replace(/\t/g, "⇥");
    return text.replace(/\n/g, wrap ? "↵\n" : "↵");
  }

  /** Reads one token as Python's repr writes it; null where there is none. */
  function literal(text, start) {
    const quote = text[start];
    let value = "";
    let i = start + 1;
    while (i < text.length && text[i] !== quote) {
      const escape = text[i] === "\\" && /^\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))/s.exec(text.slice(i, i + 10));
      if (!escape) {
        value += text[i];
        i += 1;
        continue;
      }
      const code = escape[1] || escape[2] || escape[3];
      value += code ? String.fromCodePoint(parseInt(code, 16)) : ({ n: "\n", t: "\t", r: "\r" }[escape[4]] ?? escape[4]);
      i += escape[0].length;
    }
    return i < text.length ? { value, end: i + 1 } : null;
  }

  /**
   * The n-grams of an explanation: `^ 'def' * '('` is the document's start, a token, any token, a token.
   * @returns {?{start: boolean, tokens: (string|null)[]}[]} null if the text is none of that form
   */
  function ngrams(text) {
    const found = [];
    let ngram = { start: false, tokens: [] };
    let i = 0;
    while (i < text.length) {
      if (text[i] === " ") i += 1;
      else if (text[i] === "^") (ngram.start = true), (i += 1);
      else if (text[i] === "*") ngram.tokens.push(null), (i += 1);
      else if (text[i] === "|") found.push(ngram), (ngram = { start: false, tokens: [] }), (i += 1);
      else if (text[i] === "'" || text[i] === '"') {
        const token = literal(text, i);
        if (!token) return null;
        ngram.tokens.push(token.value);
        i = token.end;
      } else return null;
    }
    return [...found, ngram];
  }

  /** A token in a chip: runs of spaces, which code is full of, as their number. */
  const short = (token) => shown(token, false).replace(/ {3,}/g, (spaces) => `␣×${spaces.length}`);

  /** One n-gram as chips. */
  function chips(ngram) {
    const start = ngram.start ? [h("span", { class: "chip wild", title: "the document's start" }, "^")] : [];
    const each = ngram.tokens.map((token) =>
      token === null ? h("span", { class: "chip wild", title: "any token" }, "∗") : h("span", { class: "chip" }, short(token)),
    );
    return h("span", { class: "ngram", dir: "ltr" }, start, each);
  }

  /** The first n-grams of an explanation in a line; other texts as they are. */
  function brief(text, most = 3) {
    if (!text) return h("span", { class: "dim" }, "–");
    const found = ngrams(text);
    if (!found) return h("bdi", { class: "mono" }, format.cut(text, LONGEST));
    const more = found.length > most ? h("span", { class: "dim" }, ` + ${found.length - most} more`) : null;
    return h("span", { class: "brief" }, found.slice(0, most).map(chips), more);
  }

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

  /** "' a' +0.08 | ' b' -0.07" as pairs of a token and a number; null if it is not of that form. */
  function effects(text) {
    const found = [];
    let i = 0;
    while (i < text.length) {
      const token = text[i] === "'" || text[i] === '"' ? literal(text, i) : null;
      const number = token && /^ ([-+]?[\d.e+-]+)(?: \| |$)/.exec(text.slice(token.end));
      if (!number) return null;
      found.push([token.value, Number(number[1])]);
      i = token.end + number[0].length;
    }
    return found;
  }

  return { shown, short, ngrams, chips, brief, example, effects };
})();
