// Two pictures of one size on top of each other with a slider between them, at any zoom.
import { previewAddress, viewAddress } from "./service.js";
import { percent, text } from "./texts.js";

const MOST_ZOOM = 16; // device pixels for each of the picture
const LOUPE_ZOOM = 4; // pixels of the loupe for each of the picture, above the zoom of the rest
const KEYS = { 0: "fit", 1: 1, 2: 2, 4: 4 };

export class Compare {
  constructor(dialog) {
    this.dialog = dialog;
    const find = (id) => dialog.querySelector(`#${id}`);
    [this.stage, this.handle, this.before, this.after] = ["stage", "handle", "before", "after"].map(find);
    this.loading = find("loading");
    this.name = find("compare-name");
    this.save = find("compare-save");
    this.state = find("compare-state");
    this.zoomValue = find("zoom-value");
    this.partField = find("part-field");
    this.part = find("part");
    this.beforeLayer = dialog.querySelector(".before");
    [this.loupe, this.spot, this.loupeButton] = ["loupe", "spot", "loupe-button"].map(find);
    this.pointer = null; // where the loupe looks, in the stage; its middle without one
    this.loupeButton.addEventListener("click", () => this.showLoupe(this.loupe.hidden));
    this.stage.addEventListener("pointermove", (event) => this.look(event));
    this.pointers = new Map();
    this.fitted = true;
    this.at = 0.5;
    this.x = this.y = 0;
    this.scale = 1;
    find("compare-close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => {
      this.clear(this.before);
      this.clear(this.after);
    });
    for (const button of dialog.querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", () => this.zoomTo(button.dataset.zoom === "fit" ? "fit" : +button.dataset.zoom));
    }
    this.part.addEventListener("change", () => this.load());
    dialog.addEventListener("keydown", (event) => this.key(event));
    this.stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.stage.addEventListener("dblclick", (event) => this.zoomTo(this.fitted ? 1 : "fit", event));
    for (const kind of ["pointerdown", "pointermove", "pointerup", "pointercancel"]) {
      this.stage.addEventListener(kind, (event) => this[kind](event));
    }
    new ResizeObserver(() => (this.fitted ? this.zoomTo("fit") : this.draw())).observe(this.stage);
  }

  open(job, mostPixels) {
    this.job = job;
    this.name.textContent = job.name;
    this.parts = parts(job.output.width, job.output.height, mostPixels);
    this.partField.hidden = this.parts.length === 1;
    this.part.replaceChildren(
      ...this.parts.map((_, index) => new Option(text("partOf", { number: index + 1, all: this.parts.length }), index)),
    );
    this.part.value = job.state === "done" ? Math.floor(this.parts.length / 2) : 0; // the first rows are done first
    this.at = 0.5;
    this.dialog.showModal();
    this.handle.focus();
    this.load();
  }

  async load() {
    const part = this.parts[this.part.value || 0];
    [this.width, this.height] = [part.width, part.height];
    this.loading.hidden = false;
    this.loading.textContent = text("loading");
    this.zoomTo("fit");
    this.clear(this.after);
    try {
      await Promise.all([this.show(this.before, "bicubic", part), this.showResult(part)]);
      this.loading.hidden = true;
      this.drawLoupe();
    } catch {
      if (this.dialog.open) this.loading.textContent = text("notShown");
    }
  }

  // What is finished while the rest is computed, or the result.
  async showResult(part) {
    const done = this.job.state === "done";
    this.save.hidden = !done;
    this.state.textContent = done ? "" : text("runningHere", { percent: percent(this.job.progress) });
    if (done) {
      Object.assign(this.save, { href: this.job.result, download: this.job.output.name });
      await this.show(this.after, "result", part);
    } else {
      const rows = Math.min(this.job.rows_done - part.top, part.height);
      if (rows > 0) await this.show(this.after, null, { ...part, height: rows });
    }
  }

  // Called as the job goes on.
  async update(job) {
    if (!this.dialog.open || job.id !== this.job.id) return;
    const before = this.job;
    this.job = job;
    if (!["running", "done"].includes(job.state)) return this.dialog.close();
    if (job.state === before.state && job.rows_done === before.rows_done) return;
    await this.showResult(this.parts[this.part.value || 0]).catch(() => {}); // it may be done meanwhile
  }

  // Shows one side, `bicubic` or `result`, or the finished rows if there is no side.
  async show(image, side, part) {
    const { id } = this.job;
    const address = side ? await viewAddress(this.job, side, part) : await previewAddress(this.job);
    if (!address || id !== this.job.id || !this.dialog.open) return;
    const next = Object.assign(new Image(), { src: address });
    await next.decode();
    const src = side ? address : await cut(next, part, this.job.output.width);
    if (id !== this.job.id || !this.dialog.open) return;
    this.clear(image);
    Object.assign(image, { src, width: part.width, height: part.height });
    this.draw();
  }

  clear(image) {
    if (image.src.startsWith("blob:") && image.src !== this.job.result) URL.revokeObjectURL(image.src);
    image.removeAttribute("src");
  }

  get zoom() {
    return this.scale * devicePixelRatio;
  }

  // To a zoom, 1 for one device pixel for each of the picture, around a point that stays where it is.
  zoomTo(zoom, point) {
    if (!this.width) return;
    const { width, height, left, top } = this.stage.getBoundingClientRect();
    this.fitted = zoom === "fit";
    if (this.fitted) {
      this.scale = Math.min(width / this.width, height / this.height, 1 / devicePixelRatio);
      this.x = (width - this.width * this.scale) / 2;
      this.y = (height - this.height * this.scale) / 2;
    } else {
      const px = point ? point.clientX - left : width / 2;
      const py = point ? point.clientY - top : height / 2;
      const scale = Math.min(Math.max(zoom, 0.02), MOST_ZOOM) / devicePixelRatio;
      this.x = px - ((px - this.x) / this.scale) * scale;
      this.y = py - ((py - this.y) / this.scale) * scale;
      this.scale = scale;
    }
    this.draw();
  }

  pan(x, y) {
    this.fitted = false;
    this.x += x;
    this.y += y;
    this.draw();
  }

  slide(at) {
    this.at = Math.min(1, Math.max(0, at));
    this.draw();
  }

  draw() {
    const { width, height } = this.stage.getBoundingClientRect();
    this.x = kept(this.x, this.width * this.scale, width);
    this.y = kept(this.y, this.height * this.scale, height);
    const [x, y] = [this.x, this.y].map((value) => Math.round(value * devicePixelRatio) / devicePixelRatio);
    for (const image of [this.before, this.after]) {
      image.style.transform = `translate(${x}px, ${y}px) scale(${this.scale})`;
      image.style.imageRendering = this.zoom >= 1 ? "pixelated" : "auto";
    }
    this.beforeLayer.style.clipPath = `inset(0 ${100 - this.at * 100}% 0 0)`;
    this.handle.style.left = `${this.at * 100}%`;
    this.handle.setAttribute("aria-valuenow", Math.round(this.at * 100));
    this.handle.setAttribute("aria-valuetext", text("sliderValue", { percent: percent(this.at) }));
    this.zoomValue.textContent = percent(this.zoom);
    this.drawLoupe();
    for (const button of this.dialog.querySelectorAll("[data-zoom]")) {
      const zoom = button.dataset.zoom;
      const pressed = zoom === "fit" ? this.fitted : !this.fitted && Math.abs(this.zoom - zoom) < 1e-6;
      button.setAttribute("aria-pressed", pressed);
    }
  }

  showLoupe(shown) {
    this.loupe.hidden = this.spot.hidden = !shown;
    this.loupeButton.setAttribute("aria-pressed", shown);
    this.draw();
  }

  look({ clientX, clientY }) {
    const { left, top } = this.stage.getBoundingClientRect();
    this.pointer = { x: clientX - left, y: clientY - top };
    this.drawLoupe();
  }

  // The same place of both pictures side by side, larger.
  drawLoupe() {
    if (this.loupe.hidden) return;
    const { width, height } = this.stage.getBoundingClientRect();
    const { x, y } = this.pointer ?? { x: width / 2, y: height / 2 };
    const canvases = this.loupe.querySelectorAll("canvas");
    const side = canvases[0].width / (LOUPE_ZOOM * Math.max(1, this.zoom)); // in pixels of the picture
    const [left, top] = [(x - this.x) / this.scale - side / 2, (y - this.y) / this.scale - side / 2];
    for (const [index, image] of [this.before, this.after].entries()) {
      const context = canvases[index].getContext("2d");
      context.imageSmoothingEnabled = false;
      context.clearRect(0, 0, canvases[index].width, canvases[index].height);
      if (!image.complete || !image.naturalWidth) continue;
      const share = image.naturalWidth / image.width; // of finished rows of a large picture some are left out
      context.drawImage(image, left * share, top * share, side * share, side * share, 0, 0, canvases[index].width, canvases[index].height);
    }
    const shown = side * this.scale;
    Object.assign(this.spot.style, { left: `${x - shown / 2}px`, top: `${y - shown / 2}px`, width: `${shown}px`, height: `${shown}px` });
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select")) return;
    const step = 80;
    const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    const slides = { ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02, PageDown: -0.1, PageUp: 0.1 };
    if (event.target === this.handle && event.key in slides) this.slide(this.at + slides[event.key]);
    else if (event.target === this.handle && event.key === "Home") this.slide(0);
    else if (event.target === this.handle && event.key === "End") this.slide(1);
    else if (event.target === this.stage && event.key in moves) this.pan(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoomTo(this.zoom * 1.25);
    else if (event.key === "-") this.zoomTo(this.zoom / 1.25);
    else if (event.key.toLowerCase() === "l") this.showLoupe(this.loupe.hidden);
    else if (event.key in KEYS) this.zoomTo(KEYS[event.key]);
    else return;
    event.preventDefault();
  }

  wheel(event) {
    event.preventDefault();
    this.zoomTo(this.zoom * Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), event);
  }

  pointerdown(event) {
    if (event.button) return;
    this.stage.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, event);
    this.sliding = this.pointers.size === 1 && this.handle.contains(event.target);
    if (this.sliding) this.handle.focus();
  }

  pointermove(event) {
    const last = this.pointers.get(event.pointerId);
    if (!last) return;
    if (this.sliding) {
      const { left, width } = this.stage.getBoundingClientRect();
      this.slide((event.clientX - left) / width);
    } else if (this.pointers.size === 2) {
      const other = [...this.pointers.values()].find((pointer) => pointer.pointerId !== event.pointerId);
      const [was, is] = [last, event].map((at) => Math.hypot(at.clientX - other.clientX, at.clientY - other.clientY));
      this.zoomTo((this.zoom * is) / Math.max(was, 1), other);
    } else {
      this.pan(event.clientX - last.clientX, event.clientY - last.clientY);
    }
    this.pointers.set(event.pointerId, event);
  }

  pointerup(event) {
    this.pointers.delete(event.pointerId);
    this.sliding = false;
  }

  pointercancel(event) {
    this.pointerup(event);
  }
}

// A picture that is smaller than the stage is in its middle; a larger one covers it.
function kept(start, length, room) {
  return length <= room ? (room - length) / 2 : Math.min(0, Math.max(room - length, start));
}

// A part of the finished rows, of which `preview` shows the whole width, in fewer pixels where the result is large.
async function cut(preview, { left, top, width, height }, wholeWidth) {
  const share = preview.naturalWidth / wholeWidth;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height].map((length) => Math.max(1, Math.round(length * share)));
  canvas.getContext("2d").drawImage(preview, -left * share, -top * share);
  URL.revokeObjectURL(preview.src);
  return URL.createObjectURL(await new Promise((resolve) => canvas.toBlob(resolve)));
}

// The rectangles that a picture is shown in, of at most so many pixels each.
export function parts(width, height, mostPixels) {
  const side = Math.floor(Math.sqrt(mostPixels));
  if (width * height <= mostPixels) return [{ left: 0, top: 0, width, height }];
  const [lefts, tops] = [width, height].map((length) => {
    const count = Math.ceil(length / side);
    return Array.from({ length: count + 1 }, (_, index) => Math.round((length * index) / count));
  });
  const rectangles = [];
  for (let row = 0; row + 1 < tops.length; row++) {
    for (let column = 0; column + 1 < lefts.length; column++) {
      const [left, top] = [lefts[column], tops[row]];
      rectangles.push({ left, top, width: lefts[column + 1] - left, height: tops[row + 1] - top });
    }
  }
  return rectangles;
}
