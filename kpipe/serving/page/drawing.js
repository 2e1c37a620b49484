// A small grey image, drawn with mouse, finger, pen or keys: white on black.

import { button, create, newId } from "./elements.js";

const CELL = 10; // pixels of the drawing for one of the image
const PEN = 2.2; // width of a stroke, in pixels of the image
const PAUSE = 250; // ms after a stroke until the drawing is sent
const INK = 20; // from which value on a pixel is part of what is drawn
// Digits of MNIST fill 20 of 28 pixels, and their centre of mass is in the middle.
const FILLED = 20 / 28;
const MOST_SCALED = 3; // a dot stays a dot

const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const HELP =
  "With keys: arrows move the pen, Space puts it down and lifts it, Delete clears, Enter sends.";

/**
 * Creates an area to draw in.
 *
 * @param {Array<number>} shape The model's height and width.
 * @param {boolean} centred Whether drawings are centred at first, as the digits of MNIST are.
 * @param {Function} onDrawn Is given each drawing as a canvas of that size.
 */
export function createDrawing([height, width], centred, onDrawn) {
  const [helpId, centreId] = [newId("help"), newId("centre")];
  const paper = create("canvas", {
    class: "paper",
    width: CELL * width,
    height: CELL * height,
    tabindex: "0",
    role: "application",
    "aria-label": "Drawing area",
    "aria-describedby": helpId,
  });
  const centre = create("input", { type: "checkbox", id: centreId, checked: centred });
  const said = create("p", { class: "visually-hidden", role: "status" });
  const context = paper.getContext("2d", { willReadFrequently: true });
  Object.assign(context, { lineCap: "round", lineJoin: "round", lineWidth: PEN * CELL });
  Object.assign(context, { strokeStyle: "white", fillStyle: "black" });
  let [last, isDown, timer, isEmpty] = [null, false, 0, true];
  let pen = [width / 2, height / 2]; // of the keyboard

  const sendSoon = () => {
    clearTimeout(timer);
    timer = setTimeout(send, PAUSE);
  };
  const send = () => {
    clearTimeout(timer);
    if (!isEmpty) onDrawn(centre.checked ? centredIn(paper, height, width) : reduced(paper));
  };
  const clear = () => {
    clearTimeout(timer);
    isEmpty = true;
    context.fillRect(0, 0, paper.width, paper.height);
  };
  const draw = (to) => {
    isEmpty = false;
    context.beginPath();
    context.moveTo(...(last ?? to));
    context.lineTo(...to);
    context.stroke();
    last = to;
  };
  const placeOf = (event) => {
    const box = paper.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    return [(x * paper.width) / box.width, (y * paper.height) / box.height];
  };
  const lift = () => {
    if (isDown) sendSoon();
    [last, isDown] = [null, false];
  };

  paper.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    clearTimeout(timer);
    paper.setPointerCapture(event.pointerId);
    paper.focus({ preventScroll: true });
    paper.classList.remove("with-keys");
    isDown = true;
    draw(placeOf(event));
    event.preventDefault();
  });
  paper.addEventListener("pointermove", (event) => {
    if (!isDown || !paper.hasPointerCapture(event.pointerId)) return;
    for (const part of event.getCoalescedEvents?.() ?? []) draw(placeOf(part));
    draw(placeOf(event));
  });
  paper.addEventListener("pointerup", lift);
  paper.addEventListener("pointercancel", lift);

  const frame = create("div", { class: "frame" }, paper);
  const cursor = create("i", { class: "cursor", hidden: true });
  frame.append(cursor);
  const showPen = () => {
    cursor.hidden = false;
    cursor.classList.toggle("down", isDown);
    cursor.style.left = `${(100 * pen[0]) / width}%`;
    cursor.style.top = `${(100 * pen[1]) / height}%`;
    const where = `column ${Math.round(pen[0])}, row ${Math.round(pen[1])}`;
    said.textContent = `Pen ${isDown ? "down" : "up"}, ${where}`;
  };
  const inPaper = () => pen.map((part) => CELL * part);
  paper.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = KEYS[event.key];
    if (step) {
      pen = pen.map((part, i) => Math.min(Math.max(part + step[i], 0), [width, height][i]));
      if (isDown) draw(inPaper());
    } else if (event.key === " ") {
      if (isDown) lift();
      else {
        [isDown, last] = [true, null];
        draw(inPaper());
      }
    } else if (event.key === "Delete" || event.key === "Backspace") {
      lift();
      clear();
    } else if (event.key === "Enter") {
      [last, isDown] = [null, false];
      send();
    } else return;
    event.preventDefault();
    showPen();
  });
  paper.addEventListener("blur", () => {
    lift();
    cursor.hidden = true;
  });
  centre.addEventListener("change", send);
  clear();

  return create(
    "div",
    { class: "drawing" },
    create("h3", {}, "Draw"),
    frame,
    create(
      "p",
      { class: "row" },
      button("Clear", clear),
      create("label", { for: centreId }, centre, " centre and scale it, as in MNIST"),
    ),
    create("p", { class: "quiet small", id: helpId }, HELP),
    said,
  );
}

/** Reduces a drawing: a pixel is the mean of its cell. */
function reduced(paper) {
  const [width, height] = [paper.width / CELL, paper.height / CELL];
  const { data } = paper.getContext("2d").getImageData(0, 0, paper.width, paper.height);
  const canvas = create("canvas", { width, height });
  const image = new ImageData(width, height);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      let sum = 0;
      for (let i = 0; i < CELL * CELL; i += 1) {
        const row = CELL * y + Math.floor(i / CELL);
        sum += data[4 * (row * paper.width + CELL * x + (i % CELL))];
      }
      const grey = Math.round(sum / CELL ** 2);
      image.data.set([grey, grey, grey, 255], 4 * (y * width + x));
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** Reduces a drawing as MNIST's digits were: scaled to a box, its centre of mass in the middle. */
function centredIn(paper, height, width) {
  const { data } = paper.getContext("2d").getImageData(0, 0, paper.width, paper.height);
  let [left, top, right, bottom, sum, sumX, sumY] = [Infinity, Infinity, 0, 0, 0, 0, 0];
  for (let i = 0; i < data.length / 4; i += 1) {
    const [value, x, y] = [data[4 * i], i % paper.width, Math.floor(i / paper.width)];
    if (value >= INK) {
      [left, top] = [Math.min(left, x), Math.min(top, y)];
      [right, bottom] = [Math.max(right, x + 1), Math.max(bottom, y + 1)];
      [sum, sumX, sumY] = [sum + value, sumX + value * (x + 0.5), sumY + value * (y + 0.5)];
    }
  }
  if (!sum) return reduced(paper);
  const box = FILLED * Math.min(width, height) * CELL;
  const scale = Math.min(box / Math.max(right - left, bottom - top), MOST_SCALED);
  const moved = create("canvas", { width: paper.width, height: paper.height });
  const context = moved.getContext("2d", { willReadFrequently: true });
  context.fillRect(0, 0, moved.width, moved.height);
  context.translate(moved.width / 2, moved.height / 2);
  context.scale(scale, scale);
  context.drawImage(paper, -sumX / sum, -sumY / sum);
  return reduced(moved);
}
