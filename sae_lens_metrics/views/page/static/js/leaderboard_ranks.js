/** SAEs in the order of a number, and which of those that are shown noise cannot tell apart. */
const leaderboardRanks = (() => {
  /**
   * The pools of SAEs that can be compared, each with its rows, the best first. The tests are those of all SAEs, whichever are shown.
   * @param {Object} number what the page holds of the number
   * @param {function(number): boolean} shown whether an SAE is shown, by its place
   * @returns {{rows: Object[], groups: Object[][]}[]} rows with `place`, `rank`, and, where `tested`, `best` and `worst`, the
   *   ranks that noise leaves open; `fixed` where these are among all SAEs
   */
  function pools(number, shown) {
    return number.pools.map((pool) => ranked(pool, shown)).filter(({ rows }) => rows.length);
  }

  function ranked(pool, shown) {
    return pool.open ? amongAll(pool, shown) : amongShown(pool, shown);
  }

  /** Where groups would be too many: the ranks among all SAEs of the pool, and no groups. */
  function amongAll({ saes: places, open }, shown) {
    const rows = places.map((place, at) => ({ place, in: new Set(), rank: at + 1, tested: open[at] !== null, best: open[at]?.[0], worst: open[at]?.[1] }));
    return { rows: rows.filter(({ place }) => shown(place)), groups: [], fixed: true };
  }

  /** From groups: the ranks among the SAEs that are shown, and the groups of these. */
  function amongShown(pool, shown) {
    const groups = pool.groups.map(members);
    const rows = pool.saes.map((place, at) => ({ place, at, in: new Set() })).filter(({ place }) => shown(place));
    const byAt = new Map(rows.map((row) => [row.at, row]));
    groups.forEach((group, g) => group.forEach((at) => byAt.get(at)?.in.add(g)));
    rows.forEach((row, i) => {
      row.rank = i + 1;
      row.tested = row.in.size > 0;
    });
    for (const row of rows.filter((each) => each.tested)) {
      const open = rows.filter((other) => other !== row && (!other.tested || alike(row, other))); // one that was not tested may be anywhere
      const better = open.filter((other) => other.rank < row.rank).length;
      row.best = row.rank - better;
      row.worst = row.rank + open.length - better;
    }
    return { rows, groups: told(rows, groups.length) };
  }

  /** The places in a group, which is written as the first and the last of its runs. */
  function members(runs) {
    const found = [];
    for (let i = 0; i < runs.length; i += 2) for (let at = runs[i]; at <= runs[i + 1]; at += 1) found.push(at);
    return found;
  }

  /** Whether two SAEs are told apart by no more than noise. */
  function alike(one, other) {
    const [few, many] = one.in.size < other.in.size ? [one, other] : [other, one];
    for (const group of few.in) if (many.in.has(group)) return true;
    return false;
  }

  /** The groups that say something of the rows shown: of two at least, and not all of them in another group. */
  function told(rows, count) {
    const groups = Array.from({ length: count }, (_, g) => rows.filter((row) => row.in.has(g))).filter((group) => group.length > 1);
    const within = (group, other) => group.every((row) => other.includes(row));
    return groups.filter((group, i) => !groups.some((other, j) => i !== j && within(group, other) && (other.length > group.length || j < i)));
  }

  /** Groups in columns, as few as hold them without two beside each other: where one ends another may begin. */
  function lanes(groups) {
    const found = [];
    for (const group of groups) {
      const lane = found.find((each) => each.at(-1).at(-1).rank < group[0].rank);
      if (lane) lane.push(group);
      else found.push([group]);
    }
    return found;
  }

  return { pools, alike, lanes };
})();
