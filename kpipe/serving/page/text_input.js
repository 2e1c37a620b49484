// A text.

import { button, create, keepDraft, newId, readDraft } from "./elements.js";

/** Creates what takes a text; see `createImageInput`. */
export function createTextInput(about, use) {
  const id = newId("text");
  const area = create("textarea", { id, rows: 7, dir: "auto", spellcheck: "false" });
  area.value = readDraft(use.key) ?? "";
  const submit = () => {
    if (!area.value.trim()) {
      use.complain("There is no text yet; type or paste one.");
      area.focus();
      return;
    }
    use.ask([{ name: "text", signature: "serving_default", instance: area.value }], use.begin());
  };
  area.addEventListener("input", () => keepDraft(use.key, area.value));
  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      submit();
    }
  });
  return create(
    "div",
    {},
    create("label", { for: id, class: "field" }, "Text"),
    area,
    create(
      "p",
      { class: "row" },
      button("Predict", submit, { class: "main" }),
      create("span", { class: "quiet small" }, "or Ctrl+Enter"),
    ),
  );
}
