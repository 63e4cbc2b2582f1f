// The list: one entry for each picture, from the drop to the result.
import { thumbnail } from "./files.js";
import { thumbnailAddress } from "./service.js";
import { bytes, duration, percent, text, translate } from "./texts.js";

const template = document.querySelector("#item");

export class Item {
  // `job` is what the service last sent; before it has the picture there is a file alone.
  constructor({ key, name, file = null, options = null, job = null }, actions) {
    Object.assign(this, { key, name, file, options, job, actions, sending: false, error: "" });
    this.element = template.content.firstElementChild.cloneNode(true);
    const find = (selector) => this.element.querySelector(selector);
    this.thumb = find(".thumb");
    this.parts = Object.fromEntries(
      ["sizes", "state", "compare", "save", "again", "remove"].map((name) => [name, find(`.${name}`)]),
    );
    this.title = find("h3");
    this.progress = find("progress");
    for (const name of ["compare", "again", "remove"]) {
      this.parts[name].addEventListener("click", () => actions[name](this));
    }
    this.draw();
    this.drawThumbnail();
  }

  get state() {
    if (this.error) return "failed";
    return this.job?.state ?? "unsent";
  }

  update(job) {
    const fresh = !this.job;
    this.job = job;
    this.file = null;
    this.draw();
    if (fresh && !this.thumb.querySelector("canvas")) this.drawThumbnail();
  }

  fail(error) {
    this.error = error;
    this.draw();
  }

  async drawThumbnail() {
    const canvas = this.file && (await thumbnail(this.file));
    if (canvas) {
      this.show(canvas);
    } else if (this.job) {
      const image = new Image();
      image.alt = "";
      image.src = thumbnailAddress(this.job);
      image.addEventListener("error", () => image.remove());
      this.show(image);
    }
  }

  show(picture) {
    this.thumb.querySelector("canvas, img")?.remove();
    this.thumb.append(picture);
  }

  draw() {
    const { state, job, parts } = this;
    this.element.dataset.state = state;
    translate(this.element);
    this.title.textContent = this.name;
    this.title.title = this.name;
    parts.sizes.replaceChildren(...this.sizes());
    const explained = this.explained();
    if (parts.state.textContent !== explained) parts.state.textContent = explained;
    this.progress.hidden = !["running", "queued", "unsent"].includes(state);
    if (state === "running" && !job.progress) this.progress.removeAttribute("value"); // until the first tile is done
    else this.progress.value = job?.progress ?? 0;
    this.progress.setAttribute("aria-label", text("progressOf", { name: this.name }));
    parts.save.hidden = state !== "done";
    parts.compare.hidden = !(state === "done" || (state === "running" && job.rows_done));
    parts.again.hidden = !(job && (state === "done" || state === "failed"));
    if (state === "done") {
      parts.save.href = job.result;
      parts.save.download = job.output.name;
    }
    const ended = state === "done" || state === "failed";
    const labels = { compare: "compare", save: "save", again: "again", remove: ended ? "remove" : "stop" };
    for (const [name, key] of Object.entries(labels)) {
      const action = text(key);
      parts[name].setAttribute("aria-label", text("of", { action, name: this.name }));
      parts[name].title = action;
    }
  }

  // Of the picture and its result, each kept on one line.
  sizes() {
    const { job } = this;
    if (!job) return this.file ? [bytes(this.file.size)] : [];
    const side = ({ width, height }) => `${width} × ${height}`;
    const weight = ({ bytes: count }) => (count ? `, ${bytes(count)}` : "");
    const [input, output] = [job.input, job.output].map((picture) => {
      return Object.assign(document.createElement("span"), { textContent: side(picture) + weight(picture) });
    });
    return [input, " → ", output];
  }

  explained() {
    const { job } = this;
    switch (this.state) {
      case "unsent":
        return text(this.sending ? "sending" : "willBeSent");
      case "queued":
        return job.ahead ? text("waiting", { ahead: job.ahead }) : text("next");
      case "running": {
        if (!job.progress) return text("begun");
        const left = job.seconds_left;
        const values = { percent: percent(job.progress), left: left === null ? "" : duration(left) };
        return text(left === null ? "running" : "runningLeft", values);
      }
      case "failed":
        return this.error || job.error;
      default:
        return [job.weights || text("done"), ...job.notes].join("; ");
    }
  }
}
