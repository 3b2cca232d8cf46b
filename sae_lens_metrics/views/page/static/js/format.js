/** Numbers and text as people read them. */
const format = (() => {
  const MINUS = "\u2212";
  const SMALL = 1e-4; // numbers below it are written with an exponent

  const signed = (text) => text.replace(/^-/, MINUS).replace(/e-/, `e${MINUS}`).replace(/e\+/, "e");

  /** A number to some significant digits, without an error to go by. */
  function number(value, digits = 4) {
    if (value === null || value === undefined) return "–";
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (Number.isInteger(value) && size < 1e6) return signed(value.toLocaleString("en", { useGrouping: size >= 1e4 }));
    if (size < SMALL || size >= 1e6) return signed(Number(value.toPrecision(digits - 1)).toExponential());
    return signed(String(Number(value.toPrecision(digits))));
  }

  const MOST_PLACES = 6;
  /** Decimal places that show two digits of an error. */
  const places = (stderr) => Math.max(0, 1 - Math.floor(Math.log10(stderr)));

  /** A number to some significant digits, also where it is written with an exponent. */
  const significant = (value, digits) => number(value, Math.abs(value) < SMALL ? digits + 1 : digits);

  /** The value and the error of an estimate to the same place; with exponents where that place is too far behind the point. */
  function parts(value, stderr) {
    if (value === null || value === undefined) return { value: "–", error: null };
    if (!stderr) return { value: number(value), error: null };
    const digits = places(stderr);
    if (digits > MOST_PLACES) return { value: significant(value, 3), error: significant(stderr, 2) };
    return { value: signed(value.toFixed(digits)), error: stderr.toFixed(digits) };
  }

  /**
   * Values and errors of a column, all to one place, that of the middle error, so that points stand below each other.
   * @param {Object[]} all the estimates of the column
   * @returns {function(Object): {value: string, error: ?string}} the parts of one of them
   */
  function aligned(all) {
    const digits = all.filter((each) => each?.stderr).map((each) => places(each.stderr)).sort((a, b) => a - b);
    const middle = digits[Math.floor(digits.length / 2)];
    if (!digits.length || middle > MOST_PLACES || digits.at(-1) - digits[0] > 2) return (each) => parts(each.value, each.stderr);
    return (each) => ({ value: signed(each.value.toFixed(middle)), error: each.stderr ? each.stderr.toFixed(middle) : null });
  }

  /** "value ± error" in one string. */
  function estimate(value, stderr) {
    const shown = parts(value, stderr);
    return shown.error === null ? shown.value : `${shown.value} ± ${shown.error}`;
  }

  /** A fraction as a percentage. */
  const percent = (value, digits = 3) => (value === null || value === undefined ? "–" : `${number(100 * value, digits)} %`);

  /** How long something took. */
  function seconds(value) {
    if (value < 120) return `${number(value, 3)} s`;
    return value < 7200 ? `${number(value / 60, 3)} min` : `${number(value / 3600, 3)} h`;
  }

  /** "held_out_loss" as words. */
  const words = (name) =>
    name
      .replace(/_/g, " ")
      .replace(/\b(l0|f1|ce|mse|auc|kkt|sae)\b/g, (short) => short.toUpperCase());

  /**
   * Text in which every character can be seen and none changes what stands around it: control characters, marks of direction and
   * halves of surrogate pairs are written as their code.
   */
  const visible = (text) =>
    String(text).replace(/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu, (character) => {
      if (character === "\n" || character === "\t" || character === "\u200d") return character;
      return `\\u{${character.codePointAt(0).toString(16)}}`;
    });

  /** The beginning of a text that is too long. */
  const cut = (text, longest) => (text.length <= longest ? text : `${text.slice(0, longest - 1)}…`);

  return { number, parts, aligned, estimate, percent, seconds, words, visible, cut };
})();
