/** Where one number stands among others. */
const statistics = (() => {
  /** The present ones of a column, in order. */
  const sorted = (values) => Float64Array.from(values.filter((value) => value !== null && value !== undefined)).sort();

  /** How many of sorted values are below a value. */
  function below(values, value) {
    let low = 0;
    let high = values.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (values[middle] < value) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The place of a value from the largest, and the share of values that are smaller. */
  function standing(values, value) {
    const smaller = below(values, value);
    let equal = 0;
    while (smaller + equal < values.length && values[smaller + equal] === value) equal += 1;
    return { rank: values.length - smaller - equal + 1, of: values.length, share: values.length ? smaller / values.length : 0 };
  }

  /** Equal bins over sorted values; `logarithmic` over those above 0, where the others are in the first bin. */
  function histogram(values, logarithmic = false, count = 28) {
    if (!values.length) return null;
    const positive = below(values, Number.MIN_VALUE);
    const log = Boolean(logarithmic) && positive < values.length;
    const scale = log ? Math.log10 : (value) => value;
    const first = scale(log ? values[positive] : values[0]);
    const last = scale(values[values.length - 1]);
    const width = (last - first || 1) / count;
    const counts = new Array(count).fill(0);
    const bin = (value) => (log && value <= 0 ? 0 : Math.max(0, Math.min(count - 1, Math.floor((scale(value) - first) / width))));
    for (const value of values) counts[bin(value)] += 1;
    return { counts, bin, log, first: log ? 10 ** first : first, last: log ? 10 ** last : last };
  }

  return { sorted, standing, histogram };
})();
