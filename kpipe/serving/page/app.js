// The page of `kpipe serve`: chooses a model, and shows its panel.

import { Refused, contentOf, describe, listModels } from "./api.js";
import { create, setAlert } from "./elements.js";
import { createPanel } from "./panel.js";

const PAUSE = 2000; // ms between two looks while models are being loaded
const LATEST = "latest";

const byId = (id) => document.getElementById(id);
const [chooser, modelChoice, versionChoice] = [byId("chooser"), byId("model"), byId("version")];
const [starting, trouble, place] = [byId("starting"), byId("trouble"), byId("panel")];

const panels = new Map(); // what was typed for a model is there when one comes back to it
let [models, wanted] = [[], 0];

/** Lists the models, and waits until there are some. */
async function start() {
  while (!models.length) {
    try {
      models = await listModels();
      setAlert(trouble, "");
      if (!models.length) starting.textContent = "The models are being loaded.";
    } catch (error) {
      setAlert(trouble, error.message);
    }
    if (!models.length) await pause();
  }
  listChoices();
  await show();
}

function pause() {
  return new Promise((resolve) => setTimeout(resolve, PAUSE));
}

function listChoices() {
  const chosen = modelChoice.value;
  const names = models.map(({ name }) => name);
  modelChoice.replaceChildren(...names.map((name) => create("option", { value: name }, name)));
  modelChoice.value = names.includes(chosen) ? chosen : names[0];
  chooser.hidden = models.length < 2 && versionChoice.parentElement.hidden;
}

/** Shows the model that the address names, so that it can be linked to. */
async function show() {
  wanted += 1;
  const mine = wanted;
  const named = new URLSearchParams(location.hash.slice(1));
  const name = named.get("model") ?? models[0].name;
  const asked = named.get("version");
  const model = { name, version: /^\d+$/.test(asked ?? "") ? asked : null };
  setAlert(trouble, "");
  try {
    const described = await awaitDescription(model);
    if (mine !== wanted) return;
    if (!models.some((other) => other.name === name)) {
      models.push({ name });
      listChoices();
    }
    modelChoice.value = name;
    showPanel(model, described);
    starting.textContent = "";
  } catch (error) {
    if (mine !== wanted) return;
    starting.textContent = "";
    place.replaceChildren();
    setAlert(trouble, error.message);
    if (!(error instanceof Refused)) throw error;
  }
}

/** Shows the panel of a model; if another version answers it, that one's, asked the same. */
function showPanel(model, described) {
  listVersions(described, model);
  const key = JSON.stringify([model.version, contentOf(described)]);
  if (!panels.has(key)) {
    const created = createPanel(model, described, (now, examples) => {
      panels.delete(key);
      if (!created.element.isConnected) return; // another model is looked at
      showPanel(model, now).ask(examples);
      starting.textContent = `The model has changed: this is version ${now.version} now.`;
    });
    panels.set(key, created);
  }
  const panel = panels.get(key);
  place.replaceChildren(panel.element);
  document.title = `${model.name} · kpipe serve`;
  return panel;
}

/** Describes a model; one that is being loaded is asked again. */
async function awaitDescription(model) {
  for (;;) {
    try {
      return await describe(model);
    } catch (error) {
      if (error.status !== 503) throw error;
      starting.textContent = error.message;
      await pause();
    }
  }
}

function listVersions({ versions, version }, model) {
  const latest = model.version === null ? ` (${version})` : "";
  const numbers = [...versions].sort((a, b) => b - a);
  versionChoice.replaceChildren(
    create("option", { value: LATEST }, LATEST + latest),
    ...numbers.map((number) => create("option", { value: number }, String(number))),
  );
  versionChoice.value = model.version ?? LATEST;
  versionChoice.parentElement.hidden = versions.length < 2 && model.version === null;
  chooser.hidden = models.length < 2 && versionChoice.parentElement.hidden;
}

function choose(version) {
  const chosen = new URLSearchParams({ model: modelChoice.value });
  if (version !== LATEST) chosen.set("version", version);
  location.hash = chosen;
}

/** Looks for new models and versions when one comes back to the page. */
async function refresh() {
  if (document.visibilityState !== "visible" || !models.length) return;
  try {
    const found = await listModels();
    if (JSON.stringify(found) === JSON.stringify(models)) return;
    models = found.length ? found : models;
    listChoices();
    await show();
  } catch {
    // the next request tells it
  }
}

modelChoice.addEventListener("change", () => choose(LATEST));
versionChoice.addEventListener("change", () => choose(versionChoice.value));
chooser.addEventListener("submit", (event) => event.preventDefault());
window.addEventListener("hashchange", show);
document.addEventListener("visibilitychange", refresh);
start();
