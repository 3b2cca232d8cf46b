/** Explanations and effects of latents, as the page's parts hold them: each text once, the rest numbers. */
const explained = (() => {
  /** The explanations of an SAE: `of(latent)` gives n-grams as a result file has them, `text(latent)` words for people. */
  async function explanations(sae) {
    const [part] = Object.values(sae.explanations);
    if (!part) return { latent: [], of: () => [], text: () => "", values: () => "" };
    const { words, latent, ngrams } = await store.value(part);
    const place = new Map(latent.map((number, i) => [number, i]));
    const quoted = words.map(([, text]) => quote(text));
    const mine = (number) => (place.has(number) ? ngrams[place.get(number)] : []);
    return {
      latent,
      of: (number) => mine(number).map((ngram) => decoded(ngram, words)),
      text: (number) => mine(number).map(([, atStart, ...tokens]) => `${atStart ? "^ " : ""}${tokens.map((word) => (word < 0 ? "*" : quoted[word])).join(" ")}`).join(" | "),
      values: (number) => mine(number).map(([value]) => short(value)).join(" | "),
    };
  }

  /**
   * The tokens whose logits an SAE's latents change, of each metric that names some, what latents write before what their absence does:
   * `of(latent, "raised")` gives changes as a result file has them, `text` words for people.
   */
  async function effects(sae) {
    const found = await Promise.all(Object.keys(sae.effects).map((metric) => effectsOf(sae, metric)));
    return found.sort((a, b) => Boolean(b.column) - Boolean(a.column));
  }

  async function effectsOf(sae, metric) {
    const value = await store.value(sae.effects[metric]);
    const place = new Map(value.latent.map((number, i) => [number, i]));
    const of = (number, side) => (place.has(number) ? changes(value[side][place.get(number)], value.words) : []);
    const text = (number, side) => of(number, side).map((change) => `${quote(change.text)} ${change.by > 0 ? "+" : ""}${short(change.by)}`).join(" | ");
    const said = saes.guide(metric)?.logit_effects || { title: `${format.words(metric)}: tokens that it changes`, meaning: "", column: "" };
    return { metric, ...said, of, text };
  }

  /** An n-gram as a result file has it. */
  function decoded([value, atStart, ...tokens], words) {
    const column = (i) => tokens.map((word) => (word < 0 ? null : words[word][i]));
    return { tokens: column(0), texts: column(1), at_start: Boolean(atStart), value };
  }

  /** Changes as a result file has them, from numbers of words and sizes in turn. */
  function changes(numbers, words) {
    const found = [];
    for (let i = 0; i < numbers.length; i += 2) found.push({ token: words[numbers[i]][0], text: words[numbers[i]][1], by: numbers[i + 1] });
    return found;
  }

  /**
   * N-grams with how often each of them predicts in some examples, those first that predict most often, and of these the largest. The one that predicts on a token is
   * known by the text that ends there and by what is predicted; where several would do, it is the longest.
   */
  function byUse(ngrams, examples) {
    const uses = new Array(ngrams.length).fill(0);
    for (const { tokens: texts, predictions } of examples) {
      predictions.forEach((prediction, i) => {
        if (!prediction) return;
        let best = -1;
        ngrams.forEach((ngram, j) => {
          const same = Math.abs(ngram.value - prediction) <= 1e-3 * Math.abs(prediction);
          if (same && (best < 0 || ngram.texts.length > ngrams[best].texts.length) && endsWith(texts, i, ngram.texts)) best = j;
        });
        if (best >= 0) uses[best] += 1;
      });
    }
    return ngrams.map((ngram, i) => ({ ...ngram, uses: uses[i] })).sort((a, b) => b.uses - a.uses || Math.abs(b.value) - Math.abs(a.value));
  }

  /** Whether the tokens up to a place end with some texts, `null` being any. */
  const endsWith = (tokens, last, texts) => texts.length <= last + 1 && texts.every((text, i) => text === null || tokens[last - texts.length + 1 + i] === text);

  /** What a result file holds, from the parts. */
  const whole = {
    explanations: ({ rules, words, latent, ngrams }) => ({ rules, latents: latent.map((number, i) => ({ latent: number, ngrams: ngrams[i].map((ngram) => decoded(ngram, words)) })) }),
    effects: ({ words, latent, raised, lowered }) => latent.map((number, i) => ({ latent: number, raised: changes(raised[i], words), lowered: changes(lowered[i], words) })),
  };

  const short = (number) => String(Number(number.toPrecision(3)));

  /** A text in quotation marks, in one line. */
  function quote(text) {
    const plain = text.replace(/\\/g, "\\\\").replace(/\n/g, "\\n").replace(/\t/g, "\\t").replace(/\r/g, "\\r");
    return plain.includes("'") && !plain.includes('"') ? `"${plain}"` : `'${plain.replace(/'/g, "\\'")}'`;
  }

  return { explanations, effects, byUse, whole };
})();
