// Images: from files to what a request contains, and as pictures on the page.

import { create } from "./elements.js";

const FULL = 0.72; // of a body, by a file, which base64 makes a third larger
const REDUCED = 2048; // largest side, in pixels, of a photograph that was too large to be sent
const SHARP = 64; // an image with fewer pixels a side is drawn as squares, not smoothly

/**
 * Makes an example of an image file.
 *
 * @param {Blob} file The file.
 * @param {string} name Its name.
 * @param {Object} limits Those of the server.
 * @param {boolean} isOnDisk Whether a file of this name is somewhere, for a command to read it.
 * @returns {Promise<Object>} The example: name, signature and instance of a request; file, the name
 *   of one with what is sent, if there is one; pixels, as many as can be if unknown; picture, null
 *   if the browser cannot show it; note, if it was changed.
 */
export async function exampleOf(file, name, limits, isOnDisk) {
  const largest = Math.floor(FULL * limits.body);
  const picture = await createImageBitmap(file).catch(() => null);
  let pixels = picture ? picture.width * picture.height : limits.pixels;
  let [sent, note] = [file, ""];
  if (picture && (file.size > largest || pixels > limits.pixels)) {
    [sent, pixels] = await reduce(picture, largest, limits.pixels);
    note = "Sent as a smaller JPEG, since the file is too large for a request.";
  } else if (file.size > largest) {
    throw new Error(`${megabytes(file.size)}; expected at most ${megabytes(largest)}.`);
  }
  const instance = { b64: await base64(sent) };
  const named = isOnDisk && sent === file ? { file: name } : {};
  return { name, ...named, signature: "serving_bytes", instance, pixels, picture, note };
}

function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Error("The file cannot be read."));
    reader.readAsDataURL(blob);
  });
}

function megabytes(size) {
  return `${(size / 1e6).toFixed(1)} MB`;
}

/** Makes a picture smaller until a request can contain it; returns a JPEG and its pixels. */
async function reduce(picture, largest, mostPixels) {
  const { width, height } = picture;
  const most = Math.min(REDUCED / Math.max(width, height), Math.sqrt(mostPixels / width / height));
  for (let scale = Math.min(1, most); scale * Math.max(width, height) >= 1; scale /= 2) {
    const size = [width, height].map((side) => Math.max(1, Math.floor(scale * side)));
    const blob = await asJpeg(picture, ...size);
    if (blob.size <= largest) return [blob, size[0] * size[1]];
  }
  throw new Error(`The image is too large; expected at most ${megabytes(largest)}.`);
}

function asJpeg(picture, width, height) {
  const canvas = create("canvas", { width, height });
  const context = canvas.getContext("2d");
  context.fillStyle = "white"; // as the server puts behind what is transparent
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) => {
    const done = (blob) => (blob ? resolve(blob) : reject(new Error("The image is too large.")));
    canvas.toBlob(done, "image/jpeg", 0.95);
  });
}

/**
 * Draws what a model sees of an image: the central part in its proportions.
 *
 * @param {?ImageBitmap} picture The image.
 * @param {Array<number>} shape The model's height, width and channels.
 * @param {string} label Description of the picture.
 * @param {boolean} grey Whether its colours are left out in any case.
 * @returns {Element} A canvas; a few words if the browser cannot show the image.
 */
export function viewOf(picture, shape, label, grey = false) {
  const [height, width, channels] = shape;
  if (!picture) return create("p", { class: "no-view quiet" }, "No preview of this format.");
  const scale = Math.min(picture.width / width, picture.height / height);
  const box = [scale * width, scale * height];
  const enlarged = Math.max(1, Math.round(320 / Math.max(width, height)));
  const canvas = newCanvas(enlarged * height, enlarged * width, label);
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = Math.max(...box) > SHARP;
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  const start = [(picture.width - box[0]) / 2, (picture.height - box[1]) / 2];
  context.drawImage(picture, ...start, ...box, 0, 0, canvas.width, canvas.height);
  if (grey || channels === 1) makeGrey(context, canvas);
  return canvas;
}

function makeGrey(context, { width, height }) {
  const image = context.getImageData(0, 0, width, height);
  for (let i = 0; i < image.data.length; i += 4) {
    const [red, green, blue] = image.data.subarray(i, i + 3);
    image.data.fill(0.299 * red + 0.587 * green + 0.114 * blue, i, i + 3);
  }
  context.putImageData(image, 0, 0);
}

/**
 * Draws the pixels of a model's answer.
 *
 * @param {Array} values [height][width][channels], from 0 to 1.
 * @param {string} label Description of the picture.
 * @param {?Element} canvas An earlier picture, to draw there.
 */
export function drawValues(values, label, canvas = null) {
  const [height, width] = [values.length, values[0].length];
  const drawn = canvas ?? newCanvas(height, width, label);
  const image = new ImageData(width, height);
  values.flat().forEach((pixel, i) => {
    const rgb = [0, 1, 2].map((channel) => 255 * pixel[pixel.length === 1 ? 0 : channel]);
    image.data.set([...rgb, 255], 4 * i);
  });
  drawn.getContext("2d").putImageData(image, 0, 0);
  return drawn;
}

/** Creates an empty picture with a description. */
export function newCanvas(height, width, label) {
  const sharp = Math.max(height, width) <= SHARP ? " sharp" : "";
  const attributes = { class: `picture${sharp}`, role: "img", "aria-label": label };
  return create("canvas", { width, height, ...attributes });
}
