/** The data: compressed parts inside the page, or in scripts beside it, that are opened when they are needed. */
const store = (() => {
  const LOADING = new Map(); // parts whose file is on its way: a promise, and what settles it
  const OPENED = new Map();
  const KEPT = 40; // parts that stay open: what was looked at last

  /** The file of a part, in the folder that this page has its parts in. */
  const fileOf = (name) => `${document.documentElement.dataset.parts}/${name}.js`;

  /** Called by the files of the folder form, each of which holds one part. */
  function receive(name, text) {
    LOADING.get(name)?.resolve(text);
  }

  /** The compressed text of a part from its file, which is asked for once by all who want it at the same time. */
  function load(name) {
    if (LOADING.has(name)) return LOADING.get(name).promise;
    const loading = {};
    LOADING.set(name, loading);
    loading.promise = new Promise((resolve, reject) => {
      loading.resolve = resolve;
      const script = h("script", { src: fileOf(name) });
      const done = () => {
        script.remove();
        LOADING.delete(name);
        reject(new Error(`${fileOf(name)} is missing beside this page, or damaged`)); // changes nothing once the part was received
      };
      script.addEventListener("error", done);
      script.addEventListener("load", done);
      document.head.append(script);
    });
    return loading.promise;
  }

  async function compressed(name) {
    const element = document.getElementById(`part-${name}`);
    return element ? element.textContent : load(name);
  }

  function bytes(base64) {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  }

  /** The text of a part. */
  async function text(name) {
    if (!window.DecompressionStream) throw new Error("this page needs a browser from 2023 or later");
    const stream = new Blob([bytes(await compressed(name))]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }

  /** The value of a part; the last ones are kept. */
  function value(name) {
    const opened = OPENED.get(name) || text(name).then(JSON.parse);
    OPENED.delete(name);
    OPENED.set(name, opened); // at the end, as the one used last
    opened.catch(() => OPENED.delete(name));
    if (OPENED.size > KEPT) OPENED.delete(OPENED.keys().next().value);
    return opened;
  }

  /** The value of a part with every number as it was written, for a copy of the file: a double cannot hold a seed of 64 bits. */
  async function exact(name) {
    const written = await text(name);
    const large = /[:[,]-?\d{16,}[,\]}]/.test(written);
    if (!large || !JSON.rawJSON) return JSON.parse(written);
    return JSON.parse(written, (key, each, context) =>
      typeof each === "number" && Number.isInteger(each) && !Number.isSafeInteger(each) ? JSON.rawJSON(context.source) : each,
    );
  }

  return { receive, text, value, exact };
})();
window.saeLensMetrics = { receive: store.receive }; // the only name outside: for the files of the folder form
