// A row of a table: a field for each column. An empty one is a missing value.

import { button, create, keepDraft, newId, readDraft } from "./elements.js";

const NUMBER = /^[+\-\u2212]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const MISSING = "missing";

/** Creates what takes a row; see `createImageInput`. */
export function createTableInput(about, use) {
  const fields = about.input.columns.map(createField);
  const form = create("form", { novalidate: true, autocomplete: "off" });
  const keep = () => keepDraft(use.key, fields.map((field) => field.control.value));
  const fill = (values) => {
    fields.forEach((field, i) => {
      field.control.value = values[i] ?? "";
      field.control.removeAttribute("aria-invalid");
    });
    keep();
  };
  const submit = (event) => {
    event?.preventDefault();
    const row = {};
    for (const field of fields) {
      field.control.removeAttribute("aria-invalid");
      try {
        row[field.key] = field.read();
      } catch (error) {
        field.control.setAttribute("aria-invalid", "true");
        field.control.focus();
        use.complain(error.message);
        return;
      }
    }
    use.ask([{ name: "row", signature: "serving_default", instance: row }], use.begin());
  };
  form.addEventListener("submit", submit);
  form.addEventListener("input", keep);
  const draft = readDraft(use.key);
  if (Array.isArray(draft) && draft.length === fields.length) fill(draft);
  const examples = fields.map((field) => field.example);
  form.append(
    create("p", { class: "quiet small" }, "An empty field is a missing value."),
    create("div", { class: "fields" }, ...fields.map((field) => field.element)),
    create(
      "p",
      { class: "row" },
      create("button", { class: "main" }, "Predict"),
      examples.some((word) => word !== "") &&
        button("Fill in an example", () => (fill(examples), submit())),
      button("Clear", () => fill([])),
    ),
  );
  return form;
}

/** Creates the field of a column: its element, control, `read()`, and an example in words. */
function createField(column) {
  const id = newId("column");
  const made = (MAKERS[column.kind] ?? ofText)(column);
  made.control.id = id;
  const label = create("label", { for: id, class: "field" }, column.name);
  const element = create("div", {}, label, made.control, ...(made.more ?? []));
  return { ...made, element, key: column.argument ?? column.name };
}

const MAKERS = { number: ofNumber, boolean: ofBoolean, date: ofDate, category: ofText };

/** Reads a number; throws an error that says what was expected. */
export function readNumber(text, name) {
  const word = text.trim();
  if (!word) throw new Error(`${name} is empty; expected a number such as 0.5.`);
  if (!NUMBER.test(word)) {
    throw new Error(`${name}: “${word}” is not a number; expected one such as 1200.5.`);
  }
  return Number(word.replace("\u2212", "-"));
}

function ofNumber(column) {
  // Not type=number: what it cannot read it gives as empty, which would be a missing value.
  const example = column.example == null ? "" : String(Number(column.example.toPrecision(7)));
  const control = create("input", { type: "text", inputmode: "decimal", placeholder: MISSING });
  const read = () => (control.value.trim() ? readNumber(control.value, column.name) : null);
  return { control, read, example };
}

function ofBoolean(column) {
  const options = Object.entries({ "": MISSING, true: "yes", false: "no" }).map(([value, word]) =>
    create("option", { value }, word),
  );
  const control = create("select", {}, ...options);
  const read = () => ({ "": null, true: true, false: false })[control.value];
  return { control, read, example: column.example == null ? "" : String(Boolean(column.example)) };
}

function ofDate(column) {
  const hasTime = /T\d/.test(column.example ?? "");
  const options = hasTime ? { type: "datetime-local", step: 1 } : { type: "date" };
  const control = create("input", options);
  const read = () => {
    if (control.validity.badInput) {
      throw new Error(`${column.name}: the date is not complete; complete or clear it.`);
    }
    const text = control.value;
    return (/T\d\d:\d\d$/.test(text) ? `${text}:00` : text) || null;
  };
  return { control, read, example: column.example ?? "" };
}

function ofText(column) {
  const listId = newId("choices");
  const choices = column.choices ?? [];
  const control = create("input", {
    type: "text",
    placeholder: MISSING,
    list: choices.length ? listId : null,
  });
  const options = choices.map((value) => create("option", { value }));
  const read = () => (control.value === "" ? null : control.value);
  const example = column.example == null ? "" : String(column.example);
  return { control, read, example, more: [create("datalist", { id: listId }, ...options)] };
}
