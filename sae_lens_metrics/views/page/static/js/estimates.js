/** Estimates as readers see them: a value with its error, and which way is better. */
const estimates = (() => {
  const BETTER = { lower: "lower is better", higher: "higher is better", one: "near 1 is better" };
  const ARROWS = { lower: "↓", higher: "↑", one: "→ 1" };

  /** Over how many units a number is, where that must stand beside it: tasks are missing, say, or others have more; else null. */
  const told = (guide, name, place) => guide?.units?.[name]?.[place] ?? null;

  /**
   * An estimate as text, and over how many units it is if that must be told; why it is absent is said on pointing at it.
   * @param {Object} each the estimate
   * @param {?number} units over how many units, if that must be told
   * @param {{value: string, error: ?string}} [parts] the value and its error as text, if not each to the place of its own error
   */
  function shown(each, units = null, parts = null) {
    if (!each || each.value === null) return h("span", { class: "absent", title: each?.reason || "not evaluated" }, "–");
    const { value: text, error } = parts ?? format.parts(each.value, each.stderr);
    const title = `${each.value}${each.stderr === null ? "" : ` ± ${each.stderr}`}, over ${each.n} ${each.of}`;
    const over = units === null ? null : h("span", { class: "pm" }, ` n=${units}`);
    return h("span", { class: "value", title: title }, text, error === null ? null : h("span", { class: "pm" }, ` ± ${error}`), over);
  }

  /** Which way is better, as an arrow and for those who hear the page. */
  function direction(better) {
    if (!better) return null;
    return h("span", { class: "better", title: BETTER[better] }, h("span", { "aria-hidden": "true" }, ` ${ARROWS[better]}`), h("span", { class: "hidden" }, ` (${BETTER[better]})`));
  }

  /** A value on a scale on which more is better; the value itself where no direction is. */
  const worth = (value, better) => (better === "lower" ? -value : better === "one" ? -Math.abs(value - 1) : value);

  return { BETTER, told, shown, direction, worth };
})();
