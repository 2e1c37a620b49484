// Numbers: a field for each, or one text for many.

import { create, keepDraft, newId, readDraft } from "./elements.js";
import { readNumber } from "./table_input.js";

const MOST_FIELDS = 64;

/** Creates what takes numbers; see `createImageInput`. */
export function createArrayInput(about, use) {
  const shape = about.input.shape.map((size) => size ?? 1);
  const count = shape.reduce((product, size) => product * size, 1);
  const controls = count <= MOST_FIELDS ? fieldsOf(count) : [createArea(count, shape)];
  const form = create("form", { novalidate: true, autocomplete: "off" });
  const draft = readDraft(use.key) ?? [];
  controls.forEach(({ control }, i) => (control.value = draft[i] ?? ""));
  form.addEventListener("input", () =>
    keepDraft(use.key, controls.map(({ control }) => control.value)),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const numbers = [];
    for (const { control, read } of controls) {
      control.removeAttribute("aria-invalid");
      try {
        numbers.push(...read());
      } catch (error) {
        control.setAttribute("aria-invalid", "true");
        control.focus();
        use.complain(error.message);
        return;
      }
    }
    const instance = nested(numbers, shape);
    use.ask([{ name: "numbers", signature: "serving_default", instance }], use.begin());
  });
  form.append(
    create("div", { class: "fields" }, ...controls.map(({ element }) => element)),
    create("p", { class: "row" }, create("button", { class: "main" }, "Predict")),
  );
  return form;
}

function fieldsOf(count) {
  return Array.from({ length: count }, (_, i) => {
    const [id, name] = [newId("number"), `Number ${i + 1}`];
    const control = create("input", { id, type: "text", inputmode: "decimal" });
    const element = create("div", {}, create("label", { for: id, class: "field" }, name), control);
    return { control, element, read: () => [readNumber(control.value, name)] };
  });
}

function createArea(count, shape) {
  const [id, expected] = [newId("numbers"), `${count.toLocaleString("en")} numbers`];
  const control = create("textarea", { id, rows: 8, spellcheck: "false" });
  const words = `${expected} (${shape.join(" × ")}), with spaces or commas between them`;
  const element = create("div", { class: "whole" });
  element.append(create("label", { for: id, class: "field" }, words), control);
  const read = () => {
    const found = control.value.split(/[\s,;[\]]+/).filter(Boolean);
    if (found.length !== count) {
      throw new Error(`${found.length.toLocaleString("en")} numbers; expected ${expected}.`);
    }
    return found.map((word, i) => readNumber(word, `Number ${i + 1}`));
  };
  return { control, element, read };
}

/** Arranges numbers in lists of lists. */
function nested(numbers, shape) {
  if (shape.length < 2) return shape.length ? numbers : numbers[0];
  const size = numbers.length / shape[0];
  return Array.from({ length: shape[0] }, (_, i) =>
    nested(numbers.slice(i * size, (i + 1) * size), shape.slice(1)),
  );
}
