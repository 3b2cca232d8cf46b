/** Which SAEs of a leaderboard are shown: by their names and by what they are. */
const leaderboardFilters = (() => {
  const FIELDS = { model: "Model", layer: "Layer", hook: "Hook", width: "Latents", architecture: "Architecture" };
  const CHIPS = 8; // values that are chosen by buttons; more of them are a list
  const LINES = 4; // of a list that are seen at once
  const UNKNOWN = "unknown";

  /** What an SAE has in a field, as text. */
  const value = (about, field) => (about[field] === null || about[field] === undefined ? UNKNOWN : String(about[field]));

  /** The fields in which SAEs differ, each with its values in order. */
  function fields(abouts) {
    const found = Object.keys(FIELDS).map((field) => ({ field, label: FIELDS[field], values: [...new Set(abouts.map((about) => value(about, field)))].sort((a, b) => tables.compare(a, b, false)) }));
    return found.filter(({ values }) => values.length > 1);
  }

  /** What is chosen, from the settings of an address, where commas separate values; those that do not occur are left out. */
  function read(query, abouts) {
    const written = (field) => (query[field] || "").split(",");
    const chosen = Object.fromEntries(fields(abouts).map(({ field, values }) => [field, values.filter((each) => written(field).includes(router.encoded(each)))]));
    return { q: query.q || "", chosen };
  }

  /** The same as settings of an address. */
  const written = ({ q, chosen }) => ({ q, ...Object.fromEntries(Object.entries(chosen).map(([field, values]) => [field, values.map(router.encoded).join(",")])) });

  /** Whether an SAE is shown. */
  function fits({ q, chosen }, name, about) {
    const text = [name, ...Object.keys(FIELDS).map((field) => value(about, field))].join("\n").toLowerCase();
    return text.includes(q.trim().toLowerCase()) && Object.entries(chosen).every(([field, values]) => !values.length || values.includes(value(about, field)));
  }

  /** The controls; they write into the state, and say that it has changed. */
  function controls(abouts, state, changed) {
    let timer = null;
    const text = h("input", { type: "search", id: "leaderboard-q", value: state.q, placeholder: "part of a name", oninput: () => {
      clearTimeout(timer);
      timer = setTimeout(() => ((state.q = text.value), changed()), 150);
    } });
    return [...fields(abouts).map((each) => (each.values.length > CHIPS ? list(each, state, changed) : chips(each, state, changed))), dom.labelled("Search", text)];
  }

  /** Buttons of which any may be pressed: none is as good as all. */
  function chips({ field, label, values }, state, changed) {
    const button = (each) => {
      const element = h("button", { type: "button", class: "pill", "aria-pressed": String(state.chosen[field].includes(each)), "data-field": field }, h("bdi", {}, each));
      element.addEventListener("click", () => {
        const before = state.chosen[field];
        state.chosen[field] = before.includes(each) ? before.filter((other) => other !== each) : [...before, each];
        element.setAttribute("aria-pressed", String(state.chosen[field].includes(each)));
        changed();
      });
      return element;
    };
    return h("fieldset", { class: "chips" }, h("legend", {}, label), values.map(button));
  }

  /** A list of which any may be chosen: none is as good as all. */
  function list({ field, label, values }, state, changed) {
    const options = values.map((each, i) => h("option", { value: i, selected: state.chosen[field].includes(each) }, each));
    const chosen = () => Array.from(choice.selectedOptions, (option) => values[Number(option.value)]);
    const choice = h("select", { multiple: true, size: LINES, id: `leaderboard-${field}`, title: "several with Shift, or with Ctrl or ⌘", onchange: () => ((state.chosen[field] = chosen()), changed()) }, options);
    return dom.labelled(`${label} (any)`, choice);
  }

  const any = ({ q, chosen }) => Boolean(q.trim()) || Object.values(chosen).some((values) => values.length);

  return { FIELDS, value, fields, read, written, fits, controls, any };
})();
