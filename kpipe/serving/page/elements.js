// Elements and numbers of the page. What a server or a file says becomes text only, never HTML.

/**
 * Creates an element.
 *
 * @param {string} tag Its name.
 * @param {Object} attributes Its attributes; a function listens to the event of that name; true is
 *   an attribute without a value, and false, null and undefined are none.
 * @param {...(Node|string)} children What it contains; a string is text, false is nothing.
 */
export function create(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== false && value != null) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.filter((child) => child !== false && child != null));
  return element;
}

/** Creates a button with a text that does something. */
export function button(text, onClick, attributes = {}) {
  return create("button", { type: "button", click: onClick, ...attributes }, text);
}

let count = 0;

/** Returns an id that no other element has. */
export function newId(word) {
  count += 1;
  return `${word}-${count}`;
}

/** Returns a name as text that may be broken after commas and underscores. */
export function breakable(name) {
  return name.split(/(?<=[,_])/).flatMap((part) => [part, create("wbr")]);
}

/** Writes a share in percent; one that is not 0 or 1 never looks as if it were. */
export function percent(share) {
  const shown = 100 * share;
  const digits = shown.toFixed(1);
  if (shown > 0 && digits === "0.0") return "<\u00a00.1\u00a0%";
  if (shown < 100 && digits === "100.0") return ">\u00a099.9\u00a0%";
  return `${digits}\u00a0%`;
}

/** Writes a number with at most so many digits, and commas between thousands. */
export function number(value, digits = 4) {
  const size = Math.abs(value);
  if (size && (size < 1e-4 || size >= 1e12)) return value.toExponential(digits - 1);
  const decimals = size >= 1 ? Math.max(0, digits - 1 - Math.floor(Math.log10(size))) : digits;
  return value.toLocaleString("en", { maximumFractionDigits: decimals });
}

/** Writes a number with its sign. */
export function signed(value, digits = 3) {
  const written = number(Math.abs(value), digits);
  if (/^[0.,]+$/.test(written)) return "0";
  return (value < 0 ? "\u2212" : "+") + written;
}

/** Shows what is the matter, or nothing, in an element with role=alert. */
export function setAlert(element, message) {
  element.textContent = message;
  element.classList.toggle("alert", Boolean(message));
}

const drafts = () => {
  try {
    return window.sessionStorage;
  } catch {
    return null; // a browser may forbid it
  }
};

/** Keeps what was typed for as long as the tab is open. */
export function keepDraft(key, value) {
  try {
    drafts()?.setItem(`kpipe ${key}`, JSON.stringify(value));
  } catch {
    // full: it is still in the form
  }
}

/** Returns what was kept, or undefined. */
export function readDraft(key) {
  try {
    return JSON.parse(drafts()?.getItem(`kpipe ${key}`) ?? "null") ?? undefined;
  } catch {
    return undefined;
  }
}
