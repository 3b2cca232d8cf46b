/** The latents for a token: those that fire on it, and those that fire behind it. */
const search = (() => {
  /** Whether an SAE's results tell where its latents fire. */
  const possible = (sae) => Boolean(sae.search);

  /**
   * Shares in percent, by latent, of its activation that is on the token, and of its n-grams that have it before the last.
   * The token is taken as it is written, with the space that it begins with; if no token is that, those count that are the same but for
   * spaces and capitals, and if there is none either, those that it is a part of.
   * @returns {Promise<{words: string[], of: Map<number, {on: number, after: number}>}>}
   */
  async function find(sae, query) {
    const { words, on, after } = await store.value(sae.search);
    const places = like(words, query);
    const of = new Map();
    const add = (numbers, name) => {
      for (let i = 0; i < numbers.length; i += 2) {
        const mine = of.get(numbers[i]) || { on: 0, after: 0 };
        mine[name] = Math.min(100, mine[name] + numbers[i + 1]);
        of.set(numbers[i], mine);
      }
    };
    for (const place of places) {
      add(on[place], "on");
      add(after[place], "after");
    }
    return { words: places.map((place) => words[place]), of };
  }

  /** The places of the words that a query means. */
  function like(words, query) {
    const plain = query.trim().toLowerCase();
    const ways = [(word) => word === query, (word) => plain && word.trim().toLowerCase() === plain, (word) => plain && word.toLowerCase().includes(plain)];
    for (const way of ways) {
      const found = [];
      words.forEach((word, i) => way(word) && found.push(i));
      if (found.length) return found;
    }
    return [];
  }

  /** A number to rank latents by: those that fire on the token come before all that fire behind it. */
  const rank = ({ on, after }) => on * 1000 + after;

  return { possible, find, rank };
})();
