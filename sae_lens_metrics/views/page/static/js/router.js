/** Addresses of views: the part after "#", so that a view can be linked to in a file, too. */
const router = (() => {
  /** Where we are: path segments and settings. */
  function here() {
    const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
    return { path: path.split("/").filter(Boolean).map(decoded), query: Object.fromEntries(new URLSearchParams(query)) };
  }

  function decoded(segment) {
    try {
      return decodeURIComponent(segment);
    } catch {
      return segment; // typed by hand
    }
  }

  /** Text as a piece of an address; half a surrogate pair has none. */
  const encoded = (text) => encodeURIComponent(String(text).toWellFormed ? String(text).toWellFormed() : String(text));

  /** An address; settings that are empty are left out. */
  function address(path, query = {}) {
    const settings = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
    const search = settings.map(([key, value]) => `${key}=${encoded(value)}`).join("&");
    return `#/${path.map(encoded).join("/")}${search ? `?${search}` : ""}`;
  }

  /** Goes to an address. */
  const go = (path, query) => {
    location.hash = address(path, query);
  };

  /** Notes settings of the view that is open in its address, without a step in the browser's history. */
  const note = (path, query) => history.replaceState(history.state, "", address(path, query));

  return { here, address, encoded, go, note };
})();
