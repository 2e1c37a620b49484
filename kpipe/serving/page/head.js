// What is said of a model before it is tried: name, task, data, test metric.

import { breakable, create, number } from "./elements.js";

// As kpipe.formatting writes them; a test compares the two.
const SHORT_NAMES = { mae: "MAE", mig: "MIG", psnr: "PSNR", r2: "R2", rmse: "RMSE" };
const SHARES = ["precision", "recall", "macro_f1", "ece", "calibrated_ece"];
const SHARE_ENDINGS = /(accuracy|baseline|overlap|coverage)$/;
const UNITS = { psnr: " dB", bound: " nats", negative_log_likelihood: " nats" };
const SAMPLE = "(sample data)";

/** Creates the head of a model's page from its description. */
export function createHead(about) {
  const task = about.task ? about.task[0].toUpperCase() + about.task.slice(1) : "";
  const facts = [task, about.data && `data: ${about.data}`, `version ${about.version}`];
  const isSample = String(about.data).endsWith(SAMPLE);
  return create(
    "div",
    { class: "head" },
    create(
      "div",
      {},
      create("h1", {}, ...breakable(about.name)),
      about.title && create("p", { class: "lead" }, about.title),
      create("p", { class: "quiet" }, facts.filter(Boolean).join(" · ")),
    ),
    about.headline && createHeadline(about.headline),
    isSample && createBanner(),
  );
}

function createBanner() {
  return create(
    "p",
    { class: "banner" },
    create("strong", {}, "SAMPLE DATA: "),
    "this model was trained and tested on a small stand-in for the real data. ",
    "Neither its answers nor its test metric say anything about real data.",
  );
}

function createHeadline(metric) {
  const { name, value, low, high, n } = metric;
  const words = name.split("/")[0].split("_").map((word) => SHORT_NAMES[word] ?? word);
  const title = `${words.join(" ")} on the test split`;
  const bounds = [low, high].map((bound) => bound != null && measured(name, bound, false));
  const facts = [
    bounds.every(Boolean) && `95 % interval [${bounds.join(", ")}]`,
    n != null && `n = ${n.toLocaleString("en")}`,
  ];
  return create(
    "div",
    { class: "headline" },
    create("p", { class: "quiet first-upper" }, title),
    create("p", { class: "big" }, value == null ? "–" : measured(name, value)),
    create("p", { class: "small" }, facts.filter(Boolean).join(", ")),
  );
}

/** Writes the value of a metric as kpipe's report does. */
export function measured(name, value, unit = true) {
  const metric = name.split("/")[0];
  if (SHARES.includes(metric) || SHARE_ENDINGS.test(metric)) {
    return `${(100 * value).toFixed(2)}${unit ? " %" : ""}`;
  }
  const after = unit ? (UNITS[metric] ?? "") : "";
  if (UNITS[metric] === " dB") return value.toFixed(2) + after;
  const size = Math.abs(value);
  if (size >= 1000) return number(Math.round(value), 12) + after;
  return ((0.01 <= size && size < 10) || !size ? value.toFixed(4) : value.toPrecision(4)) + after;
}
