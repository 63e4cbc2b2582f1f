// In place of the HTTP interface: the same functions, which enlarge pictures in this browser.
import { planSize, sizeLabel } from "./sizes.js";
import { openRecords } from "./records.js";
import { zipFile } from "./zip.js";

const MOST_BYTES = 500e6; // of a picture file
const MOST_PIXELS = 50e6; // of a picture
const MOST_VIEW_PIXELS = 36e6;
const MOST_PREVIEW_PIXELS = 4e6;
const MOST_THREADS = 8;
const KEEP_HOURS = 24;
const MOST_WAIT = 5000; // milliseconds for a service worker, without which there is one thread
const SUFFIXES = [".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".gif", ".bmp", ".dib"];
const KINDS = ["PNG", "JPEG", "WebP", "AVIF", "GIF", "BMP"];
const FORMATS = { jpg: "jpeg", jpeg: "jpeg", jpe: "jpeg", jfif: "jpeg", webp: "webp" }; // PNG for all others
const ENDINGS = { png: ".png", jpeg: ".jpg", webp: ".webp" };
const NUMBERS = ["scale", "factor", "width", "height", "clean", "quality"];
const SHARES = [1, 0.5, 0.25]; // of the memory for tiles, tried one after the other

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

await isolate();
const networks = await (await fetch("graphs.json")).json();
const runtime = await chooseRuntime();
const records = await openRecords(KEEP_HOURS);
const jobs = new Map(); // by id
const listeners = new Set();
const tab = (sessionStorage["bgai.tab"] ??= crypto.randomUUID()); // tabs do not work on each other's pictures
let worker = null; // enlarges the running job
let viewer = null; // makes what is compared

// Threads need headers that few servers send: a service worker adds them, from the next load on.
async function isolate() {
  if (crossOriginIsolated || !navigator.serviceWorker || sessionStorage.getItem("bgai.isolated")) return;
  sessionStorage.setItem("bgai.isolated", "tried");
  try {
    await navigator.serviceWorker.register("isolation.js");
    const late = new Promise((_, reject) => setTimeout(reject, MOST_WAIT));
    await Promise.race([navigator.serviceWorker.ready, late]);
  } catch {
    return; // one thread works everywhere
  }
  location.reload();
  await new Promise(() => {});
}

async function chooseRuntime() {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  const threads = crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS) : 1;
  return { provider: adapter && !adapter.info?.isFallbackAdapter ? "webgpu" : "wasm", threads };
}

export const getInfo = async () => ({
  scales: [2, 3, 4],
  weights: Object.fromEntries(Object.entries(networks.weights).map(([name, scales]) => [name, Object.keys(scales).map(Number)])),
  between: Object.keys(networks.between).map(Number),
  kinds: KINDS,
  suffixes: SUFFIXES,
  limits: { bytes: MOST_BYTES, pixels: MOST_PIXELS, view_pixels: MOST_VIEW_PIXELS },
  browser: runtime,
});

export async function getJobs() {
  for (const record of await records.all(tab)) if (!jobs.has(record.id)) jobs.set(record.id, new Job(record));
  work();
  return [...jobs.values()].map((job) => job.described());
}

export async function removeJob(id) {
  const job = jobs.get(id);
  jobs.delete(id);
  if (job?.state === "running") endWorker(new Error("stopped"));
  job?.forget();
  await records.remove(id);
  changed({ id, state: "removed" });
}

export const openSession = async () => {};

export const getSource = async ({ id }) => jobs.get(id).record.file;

export async function addJob(_, key, file, given) {
  const options = { ...given };
  for (const name of NUMBERS) if (given[name]) options[name] = Number(given[name]);
  for (const job of jobs.values()) if (job.record.key === key) return job.described();
  const size = await sizeOf(file);
  const job = new Job({ id: key, key, tab, name: file.name, file, options, size, created: Date.now(), state: "queued" });
  job.plan();
  await records.put(job.record);
  jobs.set(job.id, job);
  work();
  return job.described();
}

async function sizeOf(file) {
  let size;
  try {
    const bitmap = await createImageBitmap(file);
    size = { width: bitmap.width, height: bitmap.height };
    bitmap.close();
  } catch {
    throw new Refused(422, `${file.name}: damaged, or of a kind that this browser does not read`);
  }
  if (size.width * size.height > MOST_PIXELS) {
    throw new Refused(413, `${file.name}: ${size.width} x ${size.height} is more than the limit of ${MOST_PIXELS / 1e6} megapixels here`);
  }
  return size;
}

export function watchJobs(_, { change, up }) {
  listeners.add(change);
  queueMicrotask(up);
  return { close: () => listeners.delete(change) };
}

export const thumbnailAddress = ({ id }) => jobs.get(id)?.sourceAddress ?? "";

// The address of a part of the result, or of a bicubic enlargement.
export async function viewAddress({ id }, side, part) {
  const job = jobs.get(id);
  const whole = part.width === job.target.width && part.height === job.target.height;
  if (side === "result" && whole) return job.resultAddress;
  const file = side === "result" ? job.record.result : job.record.file;
  const task = side === "result" ? "crop" : "bicubic";
  viewer ??= new Worker("worker.js", { type: "module" });
  const { result } = await ask(viewer, { task, file, name: job.record.name, target: job.target, part });
  return URL.createObjectURL(result);
}

// The address of what is finished of a running job, if anything is.
export const previewAddress = async ({ id }) => jobs.get(id)?.previewAddress() ?? null;

export async function zipAddress() {
  const done = [...jobs.values()].filter((job) => job.state === "done");
  return URL.createObjectURL(await zipFile(done.map((job) => [job.described().output.name, job.record.result])));
}

function changed(job) {
  for (const listener of listeners) listener(job);
}

class Job {
  constructor(record) {
    this.record = record;
    this.id = record.id;
    this.progress = 0;
    this.rows = 0;
    this.sourceAddress = URL.createObjectURL(record.file);
    if (record.result) this.resultAddress = URL.createObjectURL(record.result);
    if (record.state === "running") record.state = "queued"; // the page was left meanwhile
    if (record.state !== "failed") this.plan();
  }

  get state() {
    return this.record.state;
  }

  get options() {
    const { options, name } = this.record;
    return { ...options, format: options.format || FORMATS[name.split(".").at(-1).toLowerCase()] || "png" };
  }

  plan() {
    const { name, size, options } = this.record;
    try {
      this.target = planSize(size.width, size.height, options);
    } catch (error) {
      throw new Refused(422, `${name}: ${error.message}`);
    }
  }

  // As the HTTP interface describes jobs.
  described() {
    const { record, progress } = this;
    const { id, name, state, size, file, result, options, weights = "", error = "" } = record;
    const waiting = [...jobs.values()].filter((job) => ["queued", "running"].includes(job.state));
    const described = {
      id, name, state, options, weights, error, progress: state === "done" ? 1 : progress, notes: [],
      ahead: state === "queued" ? Math.max(0, waiting.indexOf(this)) : 0,
      seconds_left: progress && state === "running" ? (((Date.now() - this.started) / 1000) * (1 - progress)) / progress : null,
      input: { ...size, bytes: file.size },
      output: this.target ? { width: this.target.width, height: this.target.height } : { ...size },
      rows_done: this.rows,
    };
    if (state !== "done") return described;
    const ending = ENDINGS[this.options.format];
    const stem = name.replace(/\.[^.]*$/, "");
    Object.assign(described.output, { name: `${stem}_${sizeLabel(options)}${ending}`, bytes: result.size, type: result.type });
    return { ...described, result: this.resultAddress };
  }

  async change(values) {
    Object.assign(this.record, values);
    if (!jobs.has(this.id)) return;
    if (values.state !== "running") await records.put(this.record);
    if (jobs.has(this.id)) changed(this.described());
  }

  // Finished rows are shown smaller where the result is large.
  async show(pixels) {
    const { width, height } = this.target;
    const share = Math.min(1, Math.sqrt(MOST_PREVIEW_PIXELS / (width * height)));
    this.preview ??= new OffscreenCanvas(Math.max(1, width * share), Math.max(1, height * share));
    const { preview, rows } = this;
    this.rows += pixels.length / (4 * width);
    const strip = await createImageBitmap(new ImageData(pixels, width));
    const [x, y] = [preview.width / width, preview.height / height];
    preview.getContext("2d").drawImage(strip, 0, rows * y, width * x, strip.height * y);
    strip.close();
    if (jobs.has(this.id)) changed(this.described());
  }

  async previewAddress() {
    return this.preview ? URL.createObjectURL(await this.preview.convertToBlob()) : null;
  }

  forget() {
    for (const address of [this.sourceAddress, this.resultAddress]) if (address) URL.revokeObjectURL(address);
  }
}

// Pictures, one after the other.
async function work() {
  if ([...jobs.values()].some((job) => job.state === "running")) return;
  const job = [...jobs.values()].find((each) => each.state === "queued");
  if (!job) return;
  Object.assign(job, { started: Date.now(), progress: 0, rows: 0, preview: null });
  await job.change({ state: "running" });
  try {
    const { result, weights } = await enlarge(job);
    job.resultAddress = URL.createObjectURL(result);
    await job.change({ state: "done", result, weights });
  } catch (error) {
    if (jobs.has(job.id)) await job.change({ state: "failed", error: error.message });
  }
  job.preview = null;
  work();
}

// Where the GPU or the memory does not suffice, it is tried again without the GPU, and with smaller tiles.
async function enlarge(job) {
  const { file, name } = job.record;
  for (const share of SHARES) {
    worker ??= new Worker("worker.js", { type: "module" });
    const task = { task: "enlarge", file, name, options: job.options, target: job.target, networks };
    try {
      return await ask(worker, { ...task, runtime, share }, (news) => {
        if (news.kind === "rows") return job.show(news.pixels);
        job.progress = news.progress;
        changed(job.described());
      });
    } catch (error) {
      if (error.ofPicture || !jobs.has(job.id)) throw error;
      endWorker(error);
      runtime.provider = "wasm";
      Object.assign(job, { progress: 0, rows: 0, preview: null });
      if (share === SHARES.at(-1)) throw new Error(`${name}: cannot be enlarged in this browser: ${error.message}`);
    }
  }
}

function endWorker(error) {
  worker?.terminate();
  worker?.dispatchEvent(new ErrorEvent("error", { message: error.message }));
  worker = null;
}

// Gives a worker a task, and its answer.
function ask(to, task, tell = () => {}) {
  const id = crypto.randomUUID();
  return new Promise((resolve, reject) => {
    const end = new AbortController();
    const finish = (settle, value) => {
      end.abort();
      settle(value);
    };
    to.addEventListener("message", ({ data }) => {
      if (data.id !== id) return;
      if (data.kind === "done") finish(resolve, data);
      else if (data.kind === "failed") finish(reject, Object.assign(new Error(data.error), { ofPicture: data.ofPicture }));
      else tell(data);
    }, { signal: end.signal });
    to.addEventListener("error", (event) => finish(reject, new Error(event.message || "the worker ended")), { signal: end.signal });
    to.postMessage({ ...task, id });
  });
}
