// One model: what it is asked, and what it answers.

import { Changed, Refused, predict } from "./api.js";
import { createAnswer, titleOf } from "./answers.js";
import { createArrayInput } from "./array_input.js";
import { button, create, setAlert } from "./elements.js";
import { createExplanations } from "./explanations.js";
import { createHead } from "./head.js";
import { createImageInput } from "./image_input.js";
import { createLatents } from "./latents.js";
import { viewOf } from "./pictures.js";
import { createTableInput } from "./table_input.js";
import { createTextInput } from "./text_input.js";

const INPUTS = {
  image: createImageInput,
  text: createTextInput,
  table: createTableInput,
  array: createArrayInput,
};
const FULL = 0.9; // of a body, filled with examples
const MOST_IMAGES = 2; // of the largest size in a request; the server takes 4

/**
 * Creates the page of a model.
 *
 * @param {Object} model Its name, and its version or null for the latest.
 * @param {Object} about Its description.
 * @param {Function} onChanged Is given the description of another version, if that one answers, and
 *   the examples that are shown.
 * @returns {Object} Its `element`; `ask(examples)`.
 */
export function createPanel(model, about, onChanged) {
  const trouble = create("div", { role: "alert" });
  const busy = create("p", { role: "status", class: "busy" });
  const shown = create("div", { class: "shown" });
  const answerCard = create("section", { class: "card", "aria-label": "Answer" });
  const hint = create("p", { class: "quiet" }, "The answer appears here.");
  shown.append(hint);
  answerCard.append(create("h2", {}, "Answer"), trouble, busy, shown);

  const isAutoencoder = about.outputs.includes("reconstruction");
  let [started, asked] = [0, []];
  const changed = (now) => onChanged(now, asked);
  const latents = isAutoencoder ? createLatents(model, about, changed) : null;
  const explanations = isAutoencoder ? null : createExplanations(model, about, changed);

  const say = (words, isBusy = false) => {
    answerCard.setAttribute("aria-busy", String(isBusy));
    busy.textContent = words;
    // An answer stands below it; the line is for those who do not see that it has changed.
    busy.classList.toggle("visually-hidden", !isBusy);
  };
  const waiting = (seconds) => {
    const unit = seconds === 1 ? "second" : "seconds";
    say(`The server is busy; asking again in ${seconds} ${unit}.`, true);
  };
  const use = {
    key: about.name,
    begin() {
      started += 1;
      setAlert(trouble, "");
      say("Computing.", true);
      return started;
    },
    complain(message) {
      started += 1; // an answer that still comes would hide it
      say("");
      setAlert(trouble, message);
    },
    async ask(examples, mine) {
      if (mine !== started) return; // something newer was asked
      asked = examples;
      const open = examples.filter((example) => !example.error);
      try {
        for (const chunk of chunksOf(open, about.limits)) {
          await answerAll(model, about, chunk, waiting);
        }
      } catch (error) {
        if (mine !== started) return;
        if (error instanceof Changed) {
          changed(error.about);
          return;
        }
        this.complain(sentence(error));
        if (!(error instanceof Refused)) throw error;
        return;
      }
      if (mine !== started) return;
      say(examples.length > 1 ? `${examples.length} answers.` : titleOf(about, examples[0]));
      showAll(examples);
    },
  };

  function showAll(examples) {
    shown.replaceChildren();
    if (examples.length === 1) {
      const [example] = examples;
      if (example.error) shown.append(problemOf(example));
      else shown.append(detailOf(example));
      return;
    }
    const place = create("div", { class: "detail" });
    const buttons = examples.map((example) => {
      const words = [create("b", {}, example.name), create("span", {}, titleOf(about, example))];
      const label = create("span", { class: example.error ? "words bad" : "words" }, ...words);
      const view = example.picture && viewOf(example.picture, about.input.shape, "");
      const choose = () => {
        buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === item)));
        place.replaceChildren(example.error ? problemOf(example) : detailOf(example));
      };
      const item = button("", choose, { "aria-pressed": "false" });
      item.append(...(view ? [view] : []), label);
      return item;
    });
    const items = buttons.map((item) => create("li", {}, item));
    shown.append(create("ul", { class: "list" }, ...items), place);
    buttons[Math.max(0, examples.findIndex((example) => !example.error))].click();
  }

  function problemOf(example) {
    return create("p", { class: "alert" }, `${example.name}: ${example.error}`);
  }

  function detailOf(example) {
    const detail = createAnswer(model, about, example);
    if (latents) latents.setCode(example.answer.code);
    if (explanations) detail.append(explanations.of(example));
    return detail;
  }

  const makeInput = INPUTS[about.input.kind];
  const inputCard = create("section", { class: "card", "aria-label": "Input" });
  inputCard.append(create("h2", {}, "Input"), makeInput(about, use));
  const parts = create("div", { class: "parts" }, inputCard, answerCard);
  const element = create("div", {}, createHead(about), parts, latents?.element);
  const ask = (examples) => {
    if (examples.length) use.ask(examples.map(unanswered), use.begin());
  };
  return { element, ask };
}

/** Returns an example as it was before it was asked; a file that cannot be sent stays refused. */
function unanswered(example) {
  const { answer, error, ...given } = example;
  return given.instance === undefined ? example : given;
}

/** Predicts for examples; what the server refuses of one of them becomes its error. */
async function answerAll(model, about, examples, waiting) {
  let open = examples;
  while (open.length) {
    const instances = open.map((example) => example.instance);
    try {
      const answers = await predict(model, about, open[0].signature, instances, waiting);
      open.forEach((example, i) => (example.answer = named(about, answers[i])));
      return;
    } catch (error) {
      // "instances[3]: what is wrong": the others are asked again without it.
      const place = error.status === 400 && /^instances\[(\d+)\]/.exec(error.message);
      const wrong = place && open[Number(place[1])];
      if (!wrong || about.input.kind !== "image") throw error;
      wrong.error = sentence(error);
      open = open.filter((example) => example !== wrong);
    }
  }
}

/** Names an answer's output, which the protocol leaves out if there is one only. */
function named(about, answer) {
  return about.outputs.length === 1 ? { [about.outputs[0]]: answer } : answer;
}

/** Splits examples into requests within the limits of the server. */
function* chunksOf(examples, limits) {
  const [mostBytes, mostPixels] = [FULL * limits.body, MOST_IMAGES * limits.pixels];
  let [chunk, bytes, pixels] = [[], 0, 0];
  for (const example of examples) {
    const [size, area] = [example.instance.b64?.length ?? 0, example.pixels ?? 0];
    const isFull = bytes + size > mostBytes || pixels + area > mostPixels;
    if (chunk.length && (isFull || chunk.length === limits.instances)) {
      yield chunk;
      [chunk, bytes, pixels] = [[], 0, 0];
    }
    chunk.push(example);
    [bytes, pixels] = [bytes + size, pixels + area];
  }
  if (chunk.length) yield chunk;
}

/** Makes an error a sentence for people, to whom the only example is not "instances[0]". */
function sentence(error) {
  const words = error.message.replace(/^instances\[\d+\](\.|: )?/, "");
  return /[.!?]$/.test(words) ? words : `${words}.`;
}
