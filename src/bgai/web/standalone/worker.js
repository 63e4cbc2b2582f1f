// Enlarges pictures, and makes the bicubic enlargements that they are compared with, in a thread of its own.
import { pickWeights } from "./compression.js";
import { mix } from "./mixing.js";
import { enlargeTile } from "./pixels.js";
import { PngWriter } from "./png.js";
import { Resampler } from "./resample.js";
import { planPicture } from "./tiling.js";

const BAND = 64; // rows of a picture that are resampled at a time
let opened = null; // the network of the last picture, which alone takes memory

class ImageError extends Error {}

// The pixels of a picture file, or of a rectangle in it: upright, in sRGB, 8 bits, RGBA.
async function decode(file, name, { left = 0, top = 0, width = null, height = null } = {}) {
  try {
    const bitmap = await createImageBitmap(file);
    const canvas = new OffscreenCanvas(width ?? bitmap.width, height ?? bitmap.height);
    const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
    context.drawImage(bitmap, -left, -top);
    bitmap.close();
    return context.getImageData(0, 0, canvas.width, canvas.height);
  } catch {
    throw new ImageError(`${name}: damaged, too large, or of a kind that this browser does not read`);
  }
}

// A canvas has the colours of half-transparent pixels in fewer levels; opaque ones are exact.
function isTransparent({ data }) {
  for (let at = 3; at < data.length; at += 4) if (data[at] < 255) return true;
  return false;
}

// Which graph enlarges a picture: a file, or two with the ranges of bytes that are mixed, and its halo.
function chooseGraph({ weights, clean = null }, scale, networks) {
  const [plain, photo] = ["bgai", "photo"].map((name) => networks.weights[name][scale]);
  const ranges = networks.between[scale];
  if (clean === null || !ranges) {
    const { file, halo } = (weights === "photo" && photo) || plain;
    return { files: [file], halo };
  }
  return { files: [plain.file, photo.file], ranges, clean, halo: Math.max(plain.halo, photo.halo) };
}

async function readGraph({ files, ranges, clean }) {
  const [model, other] = await Promise.all(files.map(async (file) => {
    const answer = await fetch(new URL(file, import.meta.url));
    if (!answer.ok) throw new Error(`${file}: ${answer.status} ${answer.statusText}`);
    return new Uint8Array(await answer.arrayBuffer());
  }));
  if (other) mix(model, other, ranges, clean);
  return model;
}

async function openSession(graph, { provider, threads }) {
  const key = [...graph.files, graph.clean].join(" ");
  if (opened?.key === key) return opened;
  await opened?.session.release();
  opened = null;
  const runtime = await import(`./onnxruntime/ort.${provider === "webgpu" ? "webgpu" : "wasm"}.min.mjs`);
  runtime.env.wasm.wasmPaths = new URL("./onnxruntime/", import.meta.url).href;
  runtime.env.wasm.numThreads = threads;
  runtime.env.logLevel = "error";
  const options = { executionProviders: [provider], logSeverityLevel: 3 }; // errors alone
  const session = await runtime.InferenceSession.create(await readGraph(graph), options);
  opened = { key, session, Tensor: runtime.Tensor };
  return opened;
}

// What runs a graph: planes of h x w x 3 in, enlarged planes out.
async function openNetwork(graph, runtime) {
  const { session, Tensor } = await openSession(graph, runtime);
  return async (planes, height, width) => {
    const input = new Tensor("float32", planes, [1, 3, height, width]);
    const { sr } = await session.run({ lr: input });
    const enlarged = Float32Array.from(await sr.getData()); // the session's own memory is used again
    sr.dispose();
    if (!enlarged.every(Number.isFinite)) throw new Error("the results are not finite numbers");
    return enlarged;
  };
}

// What takes strips of RGBA bytes and makes a file of them.
function openWriter({ format, quality }, width, height, transparent, name) {
  if (format === "png") return new PngWriter(width, height, transparent);
  if (format === "jpeg" && transparent) throw new ImageError(`${name}: JPEG has no transparency; choose PNG or WebP`);
  return new CanvasWriter(format, quality, width, height, name);
}

class CanvasWriter {
  constructor(format, quality, width, height, name) {
    Object.assign(this, { type: `image/${format}`, quality, width, name, top: 0 });
    this.canvas = new OffscreenCanvas(width, height);
    this.context = this.canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  }

  write(strip) {
    const rows = new ImageData(strip, this.width);
    this.context.putImageData(rows, 0, this.top);
    this.top += rows.height;
  }

  async finish() {
    const file = await this.canvas.convertToBlob({ type: this.type, quality: this.quality / 100 }).catch(() => null);
    if (file?.type !== this.type) {
      throw new ImageError(`${this.name}: this browser cannot write it as ${this.type}; choose PNG`);
    }
    return file;
  }
}

// Tells of `tile`s and `rows` as they are done, and last of the file.
async function enlarge({ file, name, options, target, networks, runtime, share }, tell) {
  const picked = options.weights === "auto" ? pickWeights(new Uint8Array(await file.arrayBuffer())) : options;
  const picture = await decode(file, name);
  const { width, height } = picture;
  const transparent = isTransparent(picture);
  const { scale } = target;
  const graph = chooseGraph(picked, scale, networks);
  const { rows, columns } = planPicture({ height, width, transparent }, scale, graph.halo, share);
  const resampler = target.width === width * scale && target.height === height * scale
    ? null
    : new Resampler({ width: width * scale, height: height * scale }, target);
  const writer = openWriter(options, target.width, target.height, transparent, name);
  const network = await openNetwork(graph, runtime);
  let done = 0;
  for (const down of rows) {
    const strip = new Uint8ClampedArray(4 * width * scale * (down.keepStop - down.keepStart) * scale);
    for (const across of columns) {
      const place = {
        top: down.start, left: across.start, height: down.stop - down.start, width: across.stop - across.start,
      };
      copyKept(await enlargeTile(picture, place, network, scale), strip, width, down, across, scale);
      done += (down.keepStop - down.keepStart) * (across.keepStop - across.keepStart);
      tell({ kind: "tile", progress: done / (width * height) });
    }
    const finished = resampler ? resampler.push(strip) : strip;
    if (!finished.length) continue;
    await writer.write(finished);
    tell({ kind: "rows", pixels: finished }, [finished.buffer]);
  }
  const result = await writer.finish();
  return { kind: "done", result, weights: options.weights === "auto" && networks.weights.photo[scale] ? picked.reason : "" };
}

function copyKept(tile, strip, width, down, across, scale) {
  const [from, to] = [4 * (across.stop - across.start) * scale, 4 * width * scale];
  const skipped = 4 * (across.keepStart - across.start) * scale;
  const length = 4 * (across.keepStop - across.keepStart) * scale;
  for (let y = 0; y < (down.keepStop - down.keepStart) * scale; y++) {
    const start = ((down.keepStart - down.start) * scale + y) * from + skipped;
    strip.set(tile.subarray(start, start + length), y * to + 4 * across.keepStart * scale);
  }
}

// The part of a bicubic enlargement to the size of `target`, as a PNG file.
async function bicubic({ file, name, target, part }) {
  const picture = await decode(file, name);
  const resampler = new Resampler(picture, target, part);
  const writer = new PngWriter(part.width, part.height, isTransparent(picture));
  for (let y = 0; y < picture.height; y += BAND) {
    await writer.write(resampler.push(picture.data.subarray(4 * picture.width * y, 4 * picture.width * (y + BAND))));
  }
  return { kind: "done", result: await writer.finish() };
}

// The part of a result, as a PNG file.
async function crop({ file, name, part }) {
  const { data, width, height } = await decode(file, name, part);
  const writer = new PngWriter(width, height, true);
  await writer.write(data);
  return { kind: "done", result: await writer.finish() };
}

const tasks = { enlarge, bicubic, crop };

// Of a message `task`, `id` and what the task needs; answers carry the id.
addEventListener("message", async ({ data }) => {
  const tell = (news, transfer = []) => postMessage({ id: data.id, ...news }, transfer);
  try {
    tell(await tasks[data.task](data, tell));
  } catch (error) {
    tell({ kind: "failed", error: error.message, ofPicture: error instanceof ImageError });
  }
});
