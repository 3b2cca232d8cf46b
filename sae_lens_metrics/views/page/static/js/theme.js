/** Light or dark: as the system is, unless the reader chose, which is remembered where the browser lets a page remember. */
const theme = (() => {
  const KEY = "sae-lens-metrics-theme";
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const listeners = [];
  let chosen = null;

  function remembered() {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // a page on disk may have no storage
    }
  }

  function remember(value) {
    try {
      localStorage.setItem(KEY, value);
    } catch {
      // it lasts as long as the page is open
    }
  }

  const now = () => chosen || (system.matches ? "dark" : "light");

  function apply() {
    document.documentElement.dataset.theme = now();
    const button = document.getElementById("theme");
    const other = now() === "dark" ? "light" : "dark";
    button.textContent = now() === "dark" ? "☀" : "☾";
    button.setAttribute("aria-label", `Switch to ${other} colours`);
    button.title = `Switch to ${other} colours`;
    listeners.forEach((listener) => listener());
  }

  function start() {
    const before = remembered();
    chosen = before === "light" || before === "dark" ? before : null;
    document.getElementById("theme").addEventListener("click", () => {
      chosen = now() === "dark" ? "light" : "dark";
      remember(chosen);
      apply();
    });
    system.addEventListener("change", apply);
    apply();
  }

  /** The value of a colour of the style sheet. */
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  return { start, now, colour, onchange: (listener) => listeners.push(listener) };
})();
