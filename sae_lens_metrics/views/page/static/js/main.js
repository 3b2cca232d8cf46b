/** Shows the view that the address names. */
const main = (() => {
  const VIEWS = { "": overviewView, figures: figuresView, explore: exploreView, latents: latentsView, latent: latentView, audit: auditView, judged: judgedView, config: configView };
  const OPTIONAL = { audit: "audited", judged: "judged" }; // views that not every page has
  const NAMES = { "": "Overview", figures: "Figures", explore: "Explore", latents: "Latents", audit: "Audit", judged: "Verdicts", config: "Configuration" };
  let turn = 0;
  let before = null;

  function navigation(current) {
    const link = ([name, text]) => h("a", { href: name ? `#/${name}` : "#/", "aria-current": name === current ? "page" : null }, text);
    document.getElementById("nav").replaceChildren(...Object.entries(NAMES).filter(([name]) => !(name in OPTIONAL) || saes.contents()[OPTIONAL[name]]).map(link));
  }

  async function show() {
    const mine = (turn += 1);
    const here = router.here();
    const name = here.path[0] ?? "";
    navigation(name === "latent" ? "latents" : name);
    const main = document.getElementById("main");
    main.setAttribute("aria-busy", "true");
    let shown;
    try {
      shown = Object.hasOwn(VIEWS, name) ? await VIEWS[name].render(here) : saes.missing("Nothing here", `There is no view at the address #/${here.path.join("/")}. The views are those above.`);
    } catch (error) {
      console.error(error);
      shown = { title: "Damaged", page: h("div", { class: "view" }, h("h1", {}, "This view cannot be shown"), h("p", { class: "failed" }, String(error.message || error))) };
    }
    if (mine !== turn) return; // the reader went on meanwhile
    const focused = before === name && document.activeElement ? document.activeElement.id : "";
    main.replaceChildren(shown.page);
    plots.sweep();
    main.removeAttribute("aria-busy");
    main.dataset.view = name || "overview";
    document.title = format.visible(`${shown.title} · ${saes.contents().title}`);
    if (focused && document.getElementById(focused)) document.getElementById(focused).focus();
    else if (before !== null) main.focus({ preventScroll: true });
    const path = here.path.join("/");
    if (before !== null && path !== show.path) window.scrollTo(0, 0);
    show.path = path;
    before = name;
  }

  async function start() {
    theme.start();
    document.getElementById("skip").addEventListener("click", (event) => {
      event.preventDefault(); // its address would be one of no view
      document.getElementById("main").focus();
    });
    try {
      await saes.start();
    } catch (error) {
      document.getElementById("main").replaceChildren(h("p", { class: "failed" }, `This page cannot be opened: ${error.message}`));
      return;
    }
    document.body.classList.toggle("ranked", saes.contents().ranked);
    window.addEventListener("hashchange", show);
    await show();
  }

  return { start };
})();
main.start();
