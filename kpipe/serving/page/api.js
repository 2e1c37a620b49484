// Requests to the server, TensorFlow Serving's REST protocol and what kpipe adds to it.

const ROOT = new URL("v1/models", document.baseURI).href;
const MARGIN = 30; // s beyond the server's deadline until it is given up
const LONGEST_WAIT = 10; // s, whatever a busy server asks for

let deadline = 30; // s, which the server tells with each description

/** An error to show: the server's own sentence, or why there is none. */
export class Refused extends Error {
  /**
   * @param {number} status HTTP status; 0 if there was no answer.
   * @param {string} message One sentence.
   */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Another version answers than the one that the page describes. */
export class Changed extends Refused {
  /** @param {Object} about Its description. */
  constructor(about) {
    super(0, `Version ${about.version} is served now.`);
    this.about = about;
  }
}

/** Returns the address of a model: {name, version}, where version null is the latest. */
export function addressOf(model) {
  // What may stand in a path unescaped is easier to read, in a command too.
  const name = encodeURIComponent(model.name).replace(/%(2C|3D|40|2B)/g, decodeURIComponent);
  return `${ROOT}/${name}${model.version === null ? "" : `/versions/${model.version}`}`;
}

/** Lists the models: [{name, version}]. */
export async function listModels() {
  return (await call(ROOT)).models;
}

/** Describes a model: its task, inputs, labels, test metric, and the limits of the server. */
export async function describe(model, waiting) {
  const described = await call(`${addressOf(model)}/about`, undefined, waiting);
  ({ deadline } = described.limits);
  return described;
}

/** Returns what tells a description from that of another version, or of other files. */
export function contentOf(about) {
  return JSON.stringify({ ...about, versions: null });
}

/**
 * Predicts for examples, or does what else a signature does.
 *
 * @param {Object} model See `addressOf`.
 * @param {Object} about The model's description.
 * @param {string} signature Its name.
 * @param {Array} instances The examples.
 * @param {Function} waiting Is told the seconds until a busy server is asked again.
 * @returns {Promise<Array>} One answer for each.
 * @throws {Changed} The description is not that of the version that answers.
 */
export async function predict(model, about, signature, instances, waiting) {
  const body = bodyOf(signature, instances);
  return (await ask(model, about, "predict", body, waiting)).predictions;
}

/** Explains the answer to one example; see `predict`. The choice is of a target. */
export async function explain(model, about, signature, instance, choice, waiting) {
  const body = { ...bodyOf(signature, [instance]), ...choice };
  return (await ask(model, about, "explain", body, waiting)).explanations;
}

/** Asks, and looks afterwards whether the version is still the one that is described. */
async function ask(model, about, what, body, waiting) {
  let [answer, failure] = [null, null];
  try {
    answer = await call(`${addressOf(model)}:${what}`, body, waiting);
  } catch (error) {
    if (!error.status) throw error;
    failure = error; // perhaps since another version has other inputs
  }
  const now = await describe(model, waiting);
  if (contentOf(now) !== contentOf(about)) throw new Changed(now);
  if (failure) throw failure;
  return answer;
}

/** Returns the body of a request. */
export function bodyOf(signature, instances) {
  return signature === "serving_default" ? { instances } : { signature_name: signature, instances };
}

async function call(url, body, waiting = () => {}) {
  const options =
    body === undefined
      ? {}
      : {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify(body),
        };
  let response = await fetchOnce(url, options);
  if (response.status === 503) {
    const seconds = Number(response.headers.get("Retry-After")) || 1;
    const wait = Math.min(Math.max(seconds, 0), LONGEST_WAIT);
    waiting(wait);
    await new Promise((resolve) => setTimeout(resolve, 1000 * wait));
    response = await fetchOnce(url, options);
  }
  const content = await response.json().catch(() => null);
  if (response.ok && content !== null) return content;
  const message = typeof content?.error === "string" ? content.error : "";
  throw new Refused(response.status, message || `The server answered ${response.status}.`);
}

async function fetchOnce(url, options) {
  const patience = deadline + MARGIN;
  try {
    return await fetch(url, { ...options, signal: AbortSignal.timeout(1000 * patience) });
  } catch (error) {
    if (error.name === "TimeoutError") {
      throw new Refused(0, `The server has not answered within ${patience} seconds.`);
    }
    throw new Refused(0, "The server cannot be reached. Is kpipe serve still running?");
  }
}
