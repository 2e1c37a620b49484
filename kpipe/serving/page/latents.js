// The latents of an autoencoder: sliders, whose code is decoded as they move.

import { Changed, predict } from "./api.js";
import { button, create, newId, setAlert } from "./elements.js";
import { drawValues } from "./pictures.js";

const REACH = 3; // deviations of the prior to each side
const MOST_SHOWN = 16; // sliders

/**
 * Creates the part of the page that moves latents.
 *
 * @param {Object} model See `addressOf`.
 * @param {Object} about The model's description.
 * @param {Function} onChanged Is given the description of another version, if that one answers.
 * @returns {Object} Its `element`; `setCode(code)` moves the sliders to a code.
 */
export function createLatents(model, about, onChanged) {
  const { code_size: size, latents } = about;
  const continuous = latents ? latents.continuous : size;
  const discrete = latents ? latents.discrete : [];
  const trouble = create("div", { role: "alert" });
  const place = create("div", { class: "decoded" });
  let [code, canvas, next, isDecoding] = [start(size, continuous, discrete), null, null, false];

  // One request at a time: what moves meanwhile replaces what waits, so that the last one wins.
  const decode = async () => {
    next = [...code];
    if (isDecoding) return;
    isDecoding = true;
    while (next) {
      const asked = next;
      next = null;
      try {
        const [image] = await predict(model, about, "decode", [asked]);
        const label = `Image decoded from ${asked.map((value) => value.toFixed(1)).join(", ")}`;
        canvas = drawValues(image, label, canvas);
        canvas.setAttribute("aria-label", label);
        if (!canvas.isConnected) place.append(canvas);
        setAlert(trouble, "");
      } catch (error) {
        setAlert(trouble, error.message);
        if (error instanceof Changed) onChanged(error.about);
      }
    }
    isDecoding = false;
  };

  const sliders = Array.from({ length: continuous }, (_, i) =>
    createSlider(i, (value) => {
      code[i] = value;
      decode();
    }),
  );
  let first = continuous;
  const choices = discrete.map((count, i) => {
    const offset = first;
    first += count;
    return createChoice(i, count, (chosen) => {
      code.fill(0, offset, offset + count);
      code[offset + chosen] = 1;
      decode();
    });
  });

  const setCode = (given) => {
    code = [...given];
    sliders.forEach((slider, i) => slider.set(code[i]));
    let offset = continuous;
    for (const [i, count] of discrete.entries()) {
      const part = code.slice(offset, offset + count);
      choices[i].set(part.indexOf(Math.max(...part)));
      offset += count;
    }
    decode();
  };
  const chooseRandomly = () => {
    const drawn = Array.from({ length: continuous }, normal);
    for (const count of discrete) {
      const chosen = Math.floor(Math.random() * count);
      drawn.push(...Array.from({ length: count }, (_, i) => Number(i === chosen)));
    }
    setCode(drawn);
  };

  const shown = create("div", { class: "sliders" });
  shown.append(
    ...choices.map(({ element }) => element),
    ...sliders.slice(0, MOST_SHOWN).map(({ element }) => element),
  );
  const hidden = sliders.slice(MOST_SHOWN);
  const all = button(`Show all ${sliders.length} latents`, () => {
    shown.append(...hidden.map(({ element }) => element));
    all.remove();
    hidden[0].control.focus();
  });
  const hasPrior = Boolean(latents) && latents.has_prior !== false;
  const words = hasPrior
    ? "The prior of each z is a normal distribution with mean 0 and deviation 1; a c is a choice."
    : "This autoencoder has no prior: begin with the code of an image.";
  const element = create(
    "section",
    { class: "card latents", "aria-label": "Latents" },
    create("h2", {}, "Move a latent"),
    create("p", { class: "quiet small" }, words),
    trouble,
    create(
      "div",
      { class: "beside" },
      place,
      create(
        "div",
        {},
        shown,
        create(
          "p",
          { class: "row" },
          hasPrior && button("Random code", chooseRandomly),
          button("All zero", () => setCode(start(size, continuous, discrete))),
          hidden.length > 0 && all,
        ),
      ),
    ),
  );
  decode();
  return { element, setCode };
}

/** Returns the code in the middle: 0, and the first of discrete values. */
function start(size, continuous, discrete) {
  const code = new Array(size).fill(0);
  let offset = continuous;
  for (const count of discrete) {
    code[offset] = 1;
    offset += count;
  }
  return code;
}

/** Draws from the normal distribution, by Box and Muller's transform. */
function normal() {
  const radius = Math.sqrt(-2 * Math.log(1 - Math.random()));
  return radius * Math.cos(2 * Math.PI * Math.random());
}

function createSlider(i, onMoved) {
  const id = newId("latent");
  const control = create("input", { id, type: "range", min: -REACH, max: REACH, step: 0.05 });
  const output = create("output", { for: id });
  const write = (value) => {
    output.textContent = value.toFixed(2).replace("-", "\u2212");
  };
  control.addEventListener("input", () => {
    write(Number(control.value));
    onMoved(Number(control.value));
  });
  const set = (value) => {
    const reach = Math.max(REACH, Math.ceil(Math.abs(value))); // a code may be farther out
    [control.min, control.max] = [-reach, reach];
    control.value = value;
    write(value);
  };
  set(0);
  const label = create("label", { for: id }, `Latent z${i + 1}`);
  return { element: create("div", { class: "slider" }, label, control, output), control, set };
}

function createChoice(i, count, onChosen) {
  const id = newId("discrete");
  const options = Array.from({ length: count }, (_, value) =>
    create("option", { value }, String(value + 1)),
  );
  const control = create("select", { id }, ...options);
  control.addEventListener("change", () => onChosen(Number(control.value)));
  const label = create("label", { for: id }, `Latent c${i + 1} (${count})`);
  const set = (value) => {
    control.value = String(value);
  };
  return { element: create("div", { class: "slider" }, label, control), set };
}
