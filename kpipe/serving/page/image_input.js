// Images: dropped, pasted, chosen, or drawn.

import { createDrawing } from "./drawing.js";
import { button, create } from "./elements.js";
import { exampleOf } from "./pictures.js";

const LARGEST_DRAWN = 64; // pixels a side; larger ones are not drawn by hand
const WHAT = "one or several images: drop them here, paste them, or choose files";

/**
 * Creates what takes images.
 *
 * @param {Object} about Description of the model.
 * @param {Object} use `ask` is given examples, `complain` a sentence about what is wrong.
 */
export function createImageInput(about, use) {
  const [height, width, channels] = about.input.shape;
  const picker = create("input", {
    type: "file",
    accept: "image/*",
    multiple: true,
    hidden: true,
    "aria-label": "Image files",
  });
  const drop = button(WHAT[0].toUpperCase() + WHAT.slice(1), () => picker.click(), {
    class: "drop",
  });
  const take = async (files, areOnDisk) => {
    if (!files.length) return;
    const started = use.begin();
    const found = [];
    for (const [i, file] of [...files].entries()) {
      const name = file.name || `image ${i + 1}`;
      try {
        found.push(await exampleOf(file, name, about.limits, areOnDisk));
      } catch (error) {
        found.push({ name, picture: null, error: error.message });
      }
    }
    use.ask(found, started);
  };
  picker.addEventListener("change", () => {
    take([...picker.files], true);
    picker.value = ""; // so that the same file can be chosen again
  });
  const element = create("div", { class: "image-input" });
  const mark = (isOver) => drop.classList.toggle("over", isOver);
  const isOfFiles = (event) => event.dataTransfer?.types.includes("Files");
  // Anywhere on the page: a file that misses the button must not replace the page.
  document.addEventListener("dragover", (event) => {
    if (!isOfFiles(event) || !isShown(element)) return;
    event.preventDefault();
    mark(true);
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) mark(false);
  });
  document.addEventListener("drop", (event) => {
    mark(false);
    if (!isOfFiles(event) || !isShown(element)) return;
    event.preventDefault();
    // An image of another web page is a file, too, but its HTML comes with it.
    take(event.dataTransfer.files, !event.dataTransfer.types.includes("text/html"));
  });
  document.addEventListener("paste", (event) => {
    if (!isShown(element)) return;
    const files = event.clipboardData?.files ?? [];
    if (files.length) take(files, false); // a picture of the screen is called image.png
    else use.complain(`The clipboard contains no image; expected ${WHAT}.`);
  });
  if (channels === 1 && Math.max(height, width) <= LARGEST_DRAWN) {
    const isMnist = /mnist/i.test(`${about.data} ${about.name}`);
    const onDrawn = async (canvas) => {
      const started = use.begin();
      const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
      use.ask([await exampleOf(blob, "drawing.png", about.limits, false)], started);
    };
    element.append(createDrawing([height, width], isMnist, onDrawn), create("h3", {}, "Or files"));
  }
  const kind = channels === 1 ? "grey" : "colour";
  const size = `${width} × ${height} ${kind} pixels`;
  const sees = `The model sees the central part of an image, as ${size}.`;
  element.append(drop, picker, create("p", { class: "quiet small" }, sees));
  return element;
}

function isShown(element) {
  return element.isConnected && element.offsetParent !== null;
}
