/** Elements of the page. Text is only ever set as text, so that nothing in the data can become markup, and in visible characters. */
const dom = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const SAID = ["title", "aria-label"]; // attributes that people see or hear

  /** Adds properties and children to an element. */
  function fill(element, properties, children) {
    for (const [name, value] of Object.entries(properties)) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name === "style") for (const [key, each] of Object.entries(value)) element.style.setProperty(key, each);
      else element.setAttribute(name, value === true ? "" : SAID.includes(name) ? format.visible(value) : String(value));
    }
    for (const child of children.flat(Infinity)) {
      if (child !== null && child !== undefined && child !== false) element.append(child instanceof Node ? child : format.visible(child));
    }
    return element;
  }

  /**
   * An element.
   * @param {string} tag its name
   * @param {Object} properties attributes; "onclick" and the like are listeners, "style" is an object
   * @param {...(Node|string|Array|null)} children what is in it; strings become text
   */
  const h = (tag, properties = {}, ...children) => fill(document.createElement(tag), properties, children);

  /** The same for SVG. */
  const svg = (tag, properties = {}, ...children) => fill(document.createElementNS(SVG, tag), properties, children);

  let count = 0;
  /** An id that no other element has. */
  const id = () => `id-${(count += 1)}`;

  /** A labelled control: the label stands above it. */
  function labelled(text, control, className = "field") {
    control.id = control.id || id();
    return h("div", { class: className }, h("label", { for: control.id }, text), control);
  }

  /** A list to choose from; `options` are [value, text]. */
  function select(options, chosen, onchange) {
    const element = h("select", { onchange: () => onchange(element.value) });
    for (const [value, text] of options) element.append(h("option", { value, selected: value === chosen }, text));
    return element;
  }

  /** A box that scrolls sideways by itself, so that the page never does; it can be scrolled by the keyboard. */
  const scrolling = (label, ...children) => h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, ...children);

  return { h, svg, id, labelled, select, scrolling };
})();
const { h, svg } = dom;
