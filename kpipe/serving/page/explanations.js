// What an answer depends on: places of an image, words of a text, columns of a row.

import { Changed, explain } from "./api.js";
import { tableWithMore } from "./answers.js";
import { commandBox } from "./curl.js";
import { breakable, button, create, newId, percent, setAlert, signed } from "./elements.js";
import { newCanvas, viewOf } from "./pictures.js";

const NAMES = { grad_cam: "Grad-CAM", integrated_gradients: "Integrated gradients" };
const ERASURE = { text: "Each word replaced in turn", table: "Each value replaced in turn" };
// Colours of kpipe's figures: blue speaks for the answer, vermilion against it.
const FOR = [0, 114, 178];
const AGAINST = [213, 94, 0];
// Matplotlib's "inferno", at equal distances.
const INFERNO = [
  [0, 0, 4], [27, 12, 65], [74, 12, 107], [120, 28, 109], [165, 44, 96],
  [207, 68, 70], [237, 105, 37], [251, 155, 6], [247, 209, 61], [252, 255, 164],
]; // prettier-ignore
const STRONGEST = 0.7; // opacity behind the word with the largest effect, which stays readable
const UNDERLINED = 0.1; // of the largest effect
const OPACITY = 0.8; // at first
const PALE = 0.85; // white over an image, so that both colours are seen
const GLOW = 0.75; // of Grad-CAM at full opacity
const CUT = 0.995; // share of the pixels whose effect is drawn without being cut off

/**
 * Creates what explains answers of a model, with choices that remain from one to the next.
 *
 * @param {Object} model See `addressOf`.
 * @param {Object} about The model's description.
 * @param {Function} onChanged Is given the description of another version, if that one answers.
 * @returns {?Object} `of(example)` creates the part of an example's page; null if the model cannot
 *   be explained.
 */
export function createExplanations(model, about, onChanged) {
  if (about.explains && !about.explains.length) return null;
  const state = { isAuto: false, target: "", opacity: OPACITY };

  function of(example) {
    const trouble = create("div", { role: "alert" });
    const said = create("p", { role: "status", class: "busy" });
    const place = create("div", { class: "explanations" });
    const [targetId, autoId] = [newId("target"), newId("auto")];
    const labels = about.labels.map((label) => create("option", { value: label }, label));
    const first = about.task === "multilabel" ? "the most probable label" : "the answer";
    // What stands beside them says enough only to those who see the button before them.
    const target = create("select", { id: targetId, "aria-label": "Explanation of" });
    target.append(create("option", { value: "" }, first), ...labels);
    target.value = state.target;
    const auto = create("input", {
      type: "checkbox",
      id: autoId,
      checked: state.isAuto,
      "aria-label": "Explain each answer",
    });
    let started = 0;

    const run = async () => {
      started += 1;
      const mine = started;
      setAlert(trouble, "");
      said.textContent = "Explaining; the first time takes some seconds.";
      const choice = state.target ? { target: state.target } : {};
      try {
        const waiting = (seconds) => {
          said.textContent = `The server is busy; asking again in ${seconds} s.`;
        };
        const { signature, instance } = example;
        const found = await explain(model, about, signature, instance, choice, waiting);
        if (mine !== started) return;
        said.textContent = "";
        place.replaceChildren(
          ...show(about, example, found, state),
          ...commandBox("This explanation with curl", model, "explain", example, choice),
        );
      } catch (error) {
        if (mine !== started) return;
        said.textContent = "";
        setAlert(trouble, error.message);
        if (error instanceof Changed) onChanged(error.about);
      }
    };
    auto.addEventListener("change", () => {
      state.isAuto = auto.checked;
      if (state.isAuto && !started) run();
    });
    target.addEventListener("change", () => {
      state.target = target.value;
      if (started) run();
    });
    if (state.isAuto) run();
    const choose = [create("label", { for: targetId }, "of"), target];
    return create(
      "section",
      { class: "explaining", "aria-label": "Explanation" },
      create("h3", {}, "What it depends on"),
      create(
        "p",
        { class: "row" },
        button("Explain", run),
        ...(labels.length ? choose : []),
        create("label", { for: autoId }, auto, " each answer"),
      ),
      trouble,
      said,
      place,
    );
  }
  return { of };
}

const SHOW = { image: showImages, text: showWords, table: showColumns, array: showColumns };

/** Creates what is shown of the explanations of an example. */
function show(about, example, explanations, state) {
  const isImage = explanations[0]?.kind === "image";
  const parts = isImage
    ? showImages(about, example, explanations, state)
    : explanations.flatMap((each) => [titleOf(each), SHOW[each.kind](each), factsOf(each)]);
  return [scoreOf(explanations[0]), ...parts];
}

function scoreOf({ target, score, unit }) {
  if (unit === "value") return create("p", {}, `Value: ${signed(score, 6).replace("+", "")}`);
  return create("p", {}, "Explained: ", create("b", {}, target), `, probability ${percent(score)}`);
}

function nameOf({ method, kind }) {
  return NAMES[method] ?? (method === "erasure" ? (ERASURE[kind] ?? ERASURE.table) : method);
}

function titleOf(explanation) {
  return create("h4", {}, nameOf(explanation));
}

/** Says what the numbers of an explanation are. */
function factsOf(explanation) {
  const { unit, baseline, target, sum, score, baseline_score: before, error, method, heat } =
    explanation;
  if (heat && isEmpty(heat)) {
    return create("p", {}, `Nothing: by this method no place speaks for “${target}”.`);
  }
  const what = unit === "value" ? "value" : `${unit} of “${target}”`;
  let words = `${method === "erasure" ? "Difference in" : "Contribution to"} the ${what}`;
  if (method === "grad_cam") words = `Bright: where features that speak for “${target}” are`;
  if (baseline) words += `, compared with ${baseline}`;
  if (before !== undefined) {
    const write = unit === "value" ? (value) => signed(value, 4).replace("+", "") : percent;
    const total = unit === "value" ? signed(sum, 4) : `${signed(100 * sum, 3)} points`;
    words += `. Together ${total}: from ${write(before)} to ${write(score)}`;
    if (error) {
      const doubt = unit === "value" ? signed(error, 4) : `${signed(100 * error, 3)} points`;
      words += `. Not exact: off by up to ${doubt.replace("+", "")}`;
    }
  }
  return create("p", { class: "quiet small" }, `${words}.`);
}

function showImages(about, example, explanations, state) {
  const id = newId("opacity");
  const slider = create("input", { id, type: "range", min: 0, max: 1, step: 0.05 });
  slider.value = state.opacity;
  const drawn = explanations.map((each) => {
    const label = `${nameOf(each)} of ${each.target} over the image`;
    return createHeat(about, example, each, label);
  });
  const draw = () => drawn.forEach(({ draw: drawOne }) => drawOne(state.opacity));
  slider.addEventListener("input", () => {
    state.opacity = Number(slider.value);
    draw();
  });
  draw();
  const figures = explanations.map((each, i) =>
    create(
      "figure",
      {},
      drawn[i].canvas,
      create("figcaption", {}, titleOf(each), legendOf(each), factsOf(each)),
    ),
  );
  return [
    create("div", { class: "pair" }, ...figures),
    create("p", { class: "slider" }, create("label", { for: id }, "Opacity"), slider),
  ];
}

function isEmpty(heat) {
  return heat.every((row) => row.every((value) => value === 0));
}

function legendOf({ method }) {
  const [low, high] = method === "grad_cam" ? ["little", "much"] : ["against", "for"];
  const name = method === "grad_cam" ? "inferno" : "signs";
  return create("p", { class: "legend small" }, low, create("i", { class: name }), high);
}

/** Creates a picture of effects over an image; `draw(opacity)` draws it. */
function createHeat(about, example, { heat, method }, label) {
  const [height, width] = [heat.length, heat[0].length];
  const base = example.picture && viewOf(example.picture, about.input.shape, label, true);
  const enlarged = Math.max(1, Math.round(320 / Math.max(width, height)));
  const canvas = base || newCanvas(enlarged * height, enlarged * width, label);
  const below = create("canvas", { width: canvas.width, height: canvas.height });
  if (base) below.getContext("2d").drawImage(base, 0, 0);
  const above = create("canvas", { width, height });
  above.getContext("2d").putImageData(colours(heat, method), 0, 0);
  const context = canvas.getContext("2d");
  const draw = (opacity) => {
    context.globalAlpha = 1;
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.drawImage(below, 0, 0);
    if (isEmpty(heat)) return;
    if (method !== "grad_cam") {
      context.globalAlpha = PALE * Math.min(1, opacity / OPACITY);
      context.fillStyle = "white";
      context.fillRect(0, 0, canvas.width, canvas.height);
    }
    context.globalAlpha = method === "grad_cam" ? GLOW * opacity : opacity;
    context.imageSmoothingEnabled = method === "grad_cam";
    context.drawImage(above, 0, 0, canvas.width, canvas.height);
  };
  return { canvas, draw };
}

function colours(heat, method) {
  const image = new ImageData(heat[0].length, heat.length);
  const values = heat.flat();
  const sizes = values.map(Math.abs).sort((a, b) => a - b);
  const at = Math.min(sizes.length - 1, Math.floor(CUT * sizes.length));
  const largest = sizes[at] || sizes.at(-1) || 1;
  values.forEach((value, i) => {
    if (method === "grad_cam") image.data.set([...inferno(value), 255], 4 * i);
    else {
      const strength = Math.min(Math.abs(value) / largest, 1);
      image.data.set([...(value > 0 ? FOR : AGAINST), 255 * strength], 4 * i);
    }
  });
  return image;
}

function inferno(value) {
  const place = Math.min(Math.max(value, 0), 1) * (INFERNO.length - 1);
  const i = Math.min(Math.floor(place), INFERNO.length - 2);
  return INFERNO[i].map((low, channel) => low + (place - i) * (INFERNO[i + 1][channel] - low));
}

function showWords({ words, unit }) {
  const largest = Math.max(...words.map(([, effect]) => Math.abs(effect)), 1e-9);
  const text = create("p", { class: "words-shown", dir: "auto" });
  for (const [word, effect] of words) {
    const [share, isFor] = [Math.abs(effect) / largest, effect > 0];
    const sign = share < UNDERLINED ? "" : isFor ? " for" : " against";
    const title = `${word}: ${signed(effect)}`;
    const span = create("span", { class: `word${sign}`, title }, word);
    const [red, green, blue] = isFor ? FOR : AGAINST;
    span.style.backgroundColor = `rgb(${red} ${green} ${blue} / ${STRONGEST * share})`;
    text.append(span, " ");
  }
  const legend = create("p", { class: "legend small" });
  legend.append(
    create("span", { class: "word for sample" }, "supports it"),
    " ",
    create("span", { class: "word against sample" }, "opposes it"),
  );
  const rows = words.map(([name, effect]) => ({ name, effect }));
  const summary = create("summary", {}, "The words by effect");
  return create("div", {}, text, legend, create("details", {}, summary, bars(rows, unit, "words")));
}

function showColumns({ columns, unit, kind }) {
  const rows = columns.map(({ name, value, effect }) => {
    const shown = value === null ? "missing" : typeof value === "number" ? shortly(value) : value;
    const label = kind === "array" ? `number ${name}` : name;
    return { name: `${label} = ${shown}`, effect };
  });
  return bars(rows, unit, kind === "array" ? "numbers" : "columns");
}

function shortly(value) {
  return String(Number(value.toPrecision(5))).replace("-", "\u2212");
}

/** Creates a table of signed bars, the largest effects first. */
function bars(rows, unit, what) {
  const largest = Math.max(...rows.map(({ effect }) => Math.abs(effect)), 1e-12);
  const sorted = [...rows].sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect));
  const lines = sorted.map(({ name, effect }) => {
    const bar = create("i", { class: effect > 0 ? "effect for" : "effect against" });
    const share = (50 * Math.abs(effect)) / largest;
    bar.style.width = `${share}%`;
    bar.style.left = `${effect > 0 ? 50 : 50 - share}%`;
    return create(
      "tr",
      {},
      create("th", { scope: "row" }, ...breakable(name)),
      create("td", { "aria-hidden": "true" }, create("span", { class: "axis" }, bar)),
      create("td", {}, signed(effect)),
    );
  });
  const head = create(
    "tr",
    {},
    create("th", { scope: "col" }, what[0].toUpperCase() + what.slice(1, -1)),
    create("td", {}),
    create("th", { scope: "col" }, unit === "value" ? "effect" : unit),
  );
  return tableWithMore("effects", `Effects of the ${what}`, head, lines, what);
}
