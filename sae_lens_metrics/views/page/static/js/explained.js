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

  /** The effects of an SAE's latents: `of(latent, "raised")` gives changes as a result file has them, `text` words for people. */
  async function effects(sae) {
    const [part] = Object.values(sae.effects);
    if (!part) return { of: () => [], text: () => "" };
    const value = await store.value(part);
    const place = new Map(value.latent.map((number, i) => [number, i]));
    const of = (number, side) => (place.has(number) ? changes(value[side][place.get(number)], value.words) : []);
    return { of, text: (number, side) => of(number, side).map(({ text, by }) => `${quote(text)} ${by > 0 ? "+" : ""}${short(by)}`).join(" | ") };
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

  return { explanations, effects, whole };
})();
