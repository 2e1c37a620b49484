// The requests of the page as commands for a shell, to be copied.

import { addressOf, bodyOf } from "./api.js";
import { button, create } from "./elements.js";

const SHORT = 1500; // characters of a body that is an argument
const LONGEST = 100_000; // characters of a command that can still be pasted into a terminal

/**
 * Creates a part of the page that can be unfolded, with a request as a command to copy.
 *
 * @param {string} title What the command does.
 * @param {Object} model See `addressOf`.
 * @param {string} what "predict" or "explain".
 * @param {Object} example Its `signature` and `instance`; `file`, the name of the file that
 *   contains what is sent of an image, if there is one.
 * @param {Object} more Further keys of the request.
 * @returns {Array<Element>} Nothing if the command would be too long.
 */
export function commandBox(title, model, what, example, more = {}) {
  const command = commandFor(model, what, example, more);
  return command.length > LONGEST ? [] : [createBox(title, command)];
}

function commandFor(model, what, example, more) {
  const url = quote(`${addressOf(model)}:${what}`);
  if (example.file !== undefined && example.instance.b64.length > SHORT) {
    // The shell puts the file into the text; as an argument it could be too long.
    const body = { ...bodyOf(example.signature, [{ b64: "FILE" }]), ...more };
    const encoded = `$(base64 < ${quote(example.file)} | tr -d '\\n')`;
    const text = asText(body).replace(/[\\$`]/g, "\\$&").replace("FILE", () => encoded);
    return `curl ${url} -d @- <<END\n${text}\nEND`;
  }
  const text = asText({ ...bodyOf(example.signature, [example.instance]), ...more });
  if (text.length <= SHORT && !text.includes("'")) return `curl ${url} -d '${text}'`;
  return `curl ${url} -d @- <<'END'\n${text}\nEND`;
}

/** Writes JSON on one line, with spaces, as people do. */
function asText(value) {
  if (Array.isArray(value)) return `[${value.map(asText).join(", ")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const pairs = Object.entries(value).map(([key, part]) => [JSON.stringify(key), asText(part)]);
  return `{${pairs.map((pair) => pair.join(": ")).join(", ")}}`;
}

/** Quotes a word for a shell, if it needs that. */
function quote(word) {
  return /^[\w/:.,=@+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

function createBox(title, command) {
  const code = create("code", {}, command);
  const said = create("span", { role: "status", class: "quiet" });
  const copy = button("Copy", async () => {
    try {
      await navigator.clipboard.writeText(command);
      said.textContent = "Copied.";
    } catch {
      // Without HTTPS a browser lends its clipboard to pages of this machine only.
      window.getSelection().selectAllChildren(code);
      said.textContent = "Selected: copy it with Ctrl+C.";
    }
  });
  const pre = create("pre", { tabindex: "0", "aria-label": title }, code);
  const parts = [create("summary", {}, title), pre, create("p", {}, copy, " ", said)];
  return create("details", { class: "curl" }, ...parts);
}
