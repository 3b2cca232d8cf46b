/** What was found, in plain sentences: the first thing on the page. */
const findings = (() => {
  const BEYOND = 2; // standard errors from which on a difference is told

  function section(all, reports, comparison, ranked) {
    const said = [...warned(all, reports), ...(all.length === 1 ? alone(reports[0]) : [...(comparison?.in_words || []), ...best(all, reports, comparison, ranked)])];
    if (all.length > 1 && !comparison && !ranked) said.push("Which differences are more than noise: sae-lens-metrics compare.");
    return h("section", { class: "card findings", "aria-label": "Findings" }, h("h2", {}, "Findings"), h("ul", {}, said.map((text) => h("li", {}, text))));
  }

  /** How many warnings there are, as they come first. */
  function warned(all, reports) {
    const count = reports.reduce((sum, report) => sum + report.warnings.length + Object.keys(report.errors).length, 0);
    return count ? [`${count === 1 ? "There is a warning" : `There are ${count} warnings and failures`}: read ${count === 1 ? "it" : "them"} first.`] : [];
  }

  /** Each main number of an only SAE against its baselines. */
  function alone(report) {
    return main(report).map(({ metric, guide, estimate }) => {
      const better = guide.numbers[guide.headline]?.better;
      const groups = { better: [], worse: [], alike: [] };
      for (const [name, label] of Object.entries(guide.baselines)) {
        const other = saes.results(report)[metric].estimates[name];
        if (Number.isFinite(other?.value)) groups[against(estimate, other, better)].push(`${label} (${format.number(other.value, 3)})`);
      }
      const parts = [
        groups.better.length ? `better than ${groups.better.join(", ")}` : null,
        groups.worse.length ? `worse than ${groups.worse.join(", ")}` : null,
        groups.alike.length ? `within two standard errors of ${groups.alike.join(", ")}` : null,
      ].filter(Boolean);
      return `${guide.title}: ${format.words(guide.headline)} ${format.estimate(estimate.value, estimate.stderr)}${parts.length ? `, ${parts.join("; ")}` : ""}.`;
    });
  }

  function against(estimate, other, better) {
    const difference = estimates.worth(estimate.value, better) - estimates.worth(other.value, better);
    if (!better || Math.abs(difference) <= BEYOND * Math.hypot(estimate.stderr || 0, other.stderr || 0)) return "alike";
    return difference > 0 ? "better" : "worse";
  }

  /** Which of several SAEs has the best main number, where they can be ranked, and whether that is known of the next one. */
  function best(all, reports, comparison, ranked) {
    const metrics = new Map(reports.flatMap((report) => main(report).map((each) => [each.metric, each.guide])));
    const said = [...metrics].flatMap(([metric, guide]) => {
      const name = guide.ranked_by; // nothing where something else than the SAEs moves the number
      const better = guide.numbers[name]?.better;
      const rows = all.map((sae, i) => ({ sae, estimate: saes.results(reports[i])[metric]?.estimates[name] })).filter((row) => Number.isFinite(row.estimate?.value));
      if (!better || rows.length < 2) return [];
      const number = ranked?.numbers[`${metric}/${name}`];
      const [first, second] = rows.sort((a, b) => estimates.worth(b.estimate.value, better) - estimates.worth(a.estimate.value, better));
      return [`${guide.title}: ${first.sae.name} has the best ${format.words(name)}, ${format.estimate(first.estimate.value, first.estimate.stderr)}${number ? alike(number, all) : nearest(first, second, better, tested(comparison, `${metric}/${name}`, first, second))}.`];
    });
    return said;
  }

  /** How many SAEs noise cannot tell from the best, by the leaderboard's tests. */
  function alike(number, all) {
    const { rows, fixed } = leaderboardRanks.pools(number, () => true)[0];
    if (!rows[0].tested) return "";
    const others = rows.slice(1).filter((row) => leaderboardRanks.alike(rows[0], row)).map(({ place }) => all[place].name);
    const count = fixed ? rows[0].worst - 1 - rows.filter((row) => !row.tested).length : others.length; // without groups it is not known which
    if (!count) return "";
    const named = !fixed && count <= 2;
    return `; noise cannot tell it from ${named ? others.join(" and ") : `${count} ${count === 1 ? "other" : "others"}`}`;
  }

  /** What the comparison found of a number of two SAEs, if it tested it: a paired test sees more than two standard errors do. */
  function tested(comparison, number, ...rows) {
    const names = rows.map((row) => row.sae.name);
    return comparison?.differences.find((each) => each.number === number && each.p !== null && names.includes(each.reference) && names.includes(each.name));
  }

  /** How near the second best is, where it is not clearly worse. */
  function nearest(first, second, better, found) {
    if (found) return found.verdict === "no difference beyond noise" ? `; ${second.sae.name} differs by no more than noise` : "";
    return against(first.estimate, second.estimate, better) === "better" ? "" : `; ${second.sae.name} is within two standard errors`;
  }

  /** The main number of each metric of a report. */
  function main(report) {
    return Object.entries(saes.contents().guides).flatMap(([metric, guide]) => {
      const estimate = saes.results(report)[metric]?.estimates[guide.headline];
      return Number.isFinite(estimate?.value) ? [{ metric, guide, estimate }] : [];
    });
  }

  return { section, alike };
})();
