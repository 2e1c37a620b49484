// Answers: a label with its probabilities, a value, or a reconstruction.

import { commandBox } from "./curl.js";
import { breakable, button, create, number, percent } from "./elements.js";
import { drawValues, viewOf } from "./pictures.js";

const MOST_BARS = 10;
const MOST_CODE = 24; // values of a code that are shown

/** Says the answer to an example in a few words. */
export function titleOf(about, example) {
  if (example.error) return example.error;
  const { answer } = example;
  if ("value" in answer) return number(answer.value, 6);
  if ("reconstruction" in answer) return "Reconstructed";
  const label = labelOf(about, answer);
  if (isMultilabel(about)) return label;
  return `${label}, ${percent(Math.max(...(answer.calibrated ?? answer.probabilities)))}`;
}

function isMultilabel(about) {
  return about.task === "multilabel";
}

function labelOf(about, answer) {
  if (answer.label) return answer.label;
  if (isMultilabel(about)) return "none of the labels";
  const best = answer.probabilities.indexOf(Math.max(...answer.probabilities));
  return about.labels[best] ?? String(best);
}

/**
 * Creates what is shown of an answer.
 *
 * @param {Object} model See `addressOf`.
 * @param {Object} about The model's description.
 * @param {Object} example An example with its answer.
 */
export function createAnswer(model, about, example) {
  const { answer } = example;
  const detail = create("div", { class: "answer" });
  if (example.note) detail.append(create("p", { class: "quiet small" }, example.note));
  if ("reconstruction" in answer) detail.append(...reconstructionOf(about, example));
  else if ("value" in answer) detail.append(...valueOf(about, answer));
  else detail.append(...classesOf(about, example));
  detail.append(...commandBox("The same with curl", model, "predict", example));
  return detail;
}

function valueOf(about, answer) {
  const unit = about.unit ? ` ${about.unit}` : "";
  const parts = [create("p", { class: "big" }, number(answer.value, 6) + unit)];
  const { headline } = about;
  if (headline?.name === "mae" && headline.value != null) {
    const error = number(headline.value, 3) + unit;
    const words = `On the test split, predictions are wrong by ${error} on average.`;
    parts.push(create("p", { class: "quiet" }, words));
  }
  return parts;
}

function classesOf(about, example) {
  const { answer } = example;
  const label = labelOf(about, answer);
  const first = create("div", { class: "result" });
  if (example.picture) first.append(viewOf(example.picture, about.input.shape, example.name));
  const best = Math.max(...(answer.calibrated ?? answer.probabilities));
  const kind = answer.calibrated ? "calibrated probability" : "probability";
  const size = isMultilabel(about) ? "label" : "big";
  const said = create("div", {}, create("p", { class: size }, label));
  if (!isMultilabel(about)) said.append(create("p", {}, `${kind} ${percent(best)}`));
  if (answer.prediction_set) said.append(...setOf(about, answer));
  first.append(said);
  return [first, createBars(about, answer)];
}

/** Says which classes are in the prediction set, and what that means. */
function setOf(about, answer) {
  const inSet = answer.prediction_set.flatMap((isIn, i) => (isIn ? [nameOf(about, i)] : []));
  const shown = inSet.slice(0, 12).join(", ") + (inSet.length > 12 ? ", …" : "");
  const of = `${inSet.length} of ${answer.prediction_set.length} classes`;
  const share = about.coverage ? `${number(100 * about.coverage, 3)} %` : "most";
  const meaning = `Such a set contains the true class in ${share} of cases.`;
  return [
    create("p", { class: "set" }, "Prediction set: ", create("b", {}, shown), ` (${of}).`),
    create("p", { class: "quiet small" }, meaning),
  ];
}

function nameOf(about, i) {
  return about.labels[i] ?? String(i);
}

/** Creates a bar for each class: its probability, and the calibrated one below it. */
function createBars(about, answer) {
  const { probabilities, calibrated, prediction_set: set } = answer;
  const order = probabilities.map((_, i) => i);
  const main = calibrated ?? probabilities;
  order.sort((a, b) => main[b] - main[a] || probabilities[b] - probabilities[a] || a - b);
  const rows = order.map((i) =>
    create(
      "tr",
      {},
      create("th", { scope: "row" }, ...breakable(nameOf(about, i)), set?.[i] && inSetMark()),
      create(
        "td",
        { class: "bar-cell", "aria-hidden": "true" },
        createBar(probabilities[i], "raw"),
        calibrated && createBar(calibrated[i], "calibrated"),
      ),
      create("td", {}, percent(probabilities[i])),
      calibrated && create("td", {}, percent(calibrated[i])),
    ),
  );
  const head = create(
    "tr",
    {},
    create("th", { scope: "col" }, isMultilabel(about) ? "Label" : "Class"),
    create("td", {}),
    keyed("raw", "network"),
    calibrated && keyed("calibrated", "calibrated"),
  );
  const what = isMultilabel(about) ? "labels" : "classes";
  return tableWithMore("bars", `Probabilities of the ${what}`, head, rows, what);
}

function keyed(kind, title) {
  return create("th", { scope: "col" }, create("i", { class: `key ${kind}` }), title);
}

function inSetMark() {
  return create("span", { class: "in-set" }, "in the set");
}

function createBar(share, kind) {
  const bar = create("i", { class: `bar ${kind}` });
  bar.style.width = `${100 * Math.min(Math.max(share, 0), 1)}%`;
  return create("span", { class: "track" }, bar);
}

/**
 * Creates a table that shows its first rows, and all of them on demand.
 *
 * @param {string} name Its class.
 * @param {string} caption What it is, for screen readers.
 * @param {Element} head The row of names.
 * @param {Array<Element>} rows The rows.
 * @param {string} what What the rows are.
 */
export function tableWithMore(name, caption, head, rows, what) {
  const body = create("tbody", {}, ...rows.slice(0, MOST_BARS));
  const title = create("caption", { class: "visually-hidden" }, caption);
  const table = create("table", { class: name }, title, create("thead", {}, head), body);
  const box = create("div", {}, table);
  if (rows.length > MOST_BARS) {
    const more = button(`Show all ${rows.length} ${what}`, () => {
      body.append(...rows.slice(MOST_BARS));
      more.remove();
      rows[MOST_BARS].tabIndex = -1; // where reading goes on
      rows[MOST_BARS].focus({ preventScroll: true });
    });
    box.append(more);
  }
  return box;
}

function reconstructionOf(about, example) {
  const { reconstruction, code } = example.answer;
  const { shape } = about.input;
  const figures = [
    ["Original", viewOf(example.picture, shape, `Original: ${example.name}`)],
    ["Reconstruction", drawValues(reconstruction, `Reconstruction of ${example.name}`)],
  ].map(([title, view]) => create("figure", {}, view, create("figcaption", {}, title)));
  const shown = code.slice(0, MOST_CODE).map((value) => value.toFixed(2));
  const rest = code.length > MOST_CODE ? `, and ${code.length - MOST_CODE} more` : "";
  const words = `Code of ${code.length} values: ${shown.join(", ")}${rest}`;
  return [
    create("div", { class: "pair" }, ...figures),
    create("p", { class: "small numbers" }, words.replaceAll("-", "\u2212")),
  ];
}
