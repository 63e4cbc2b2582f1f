// The page: pictures in, choices, the list, and what the service tells of it.
import { Compare } from "./compare.js";
import { droppedFiles, picturesAmong } from "./files.js";
import { Item } from "./items.js";
import * as service from "./service.js";
import { clientLabel, randomLabel, readChoices, readLanguage, unsent, writeChoices, writeLanguage } from "./store.js";
import { bytes, listed, percent, setLanguage, text, translate } from "./texts.js";

const UPLOADS_AT_ONCE = 2;
const RETRY_SECONDS = 3;
const SIZES = { size: ["width", "height"], factor: ["factor"] }; // fields of what stands in place of a scale

const find = (selector) => document.querySelector(selector);
const client = clientLabel();
const options = find("#options");
const items = new Map(); // by key, which is the job's id once there is one
let info = null;
let uploads = 0;
let watching = null;
const compare = new Compare(find("#compare"));

const actions = {
  compare: (item) => compare.open(item.job, info.limits.view_pixels),
  async again(item) {
    await attempt(async () => add([await service.getSource(item.job)]));
  },
  async remove(item) {
    const neighbour = item.element.nextElementSibling ?? item.element.previousElementSibling;
    const id = item.job?.id;
    drop(item);
    (neighbour?.querySelector(".remove") ?? find("#choose")).focus();
    if (id) await attempt(() => service.removeJob(id));
  },
};

function reached(is) {
  find("#offline").hidden = is;
}

// What the service refuses for another reason than the picture is no fault of the page.
async function attempt(action) {
  try {
    const result = await action();
    reached(true);
    return result;
  } catch (error) {
    if (error instanceof service.Refused && error.status === 404) return null;
    if (error instanceof service.Refused && error.status === 401) return askForToken();
    reached(false);
    return null;
  }
}

// Choices

function currentOptions() {
  const choices = readForm();
  const given = { metadata: choices.metadata };
  for (const name of SIZES[choices.scale] ?? ["scale"]) if (choices[name]) given[name] = choices[name];
  if (SIZES[choices.scale] && Object.keys(given).length === 1) given.scale = "4"; // a size that was left empty
  if (choices.weights === "between") given.clean = choices.clean;
  else given.weights = choices.weights;
  if (choices.format) given.format = choices.format;
  given.quality = choices.quality;
  return given;
}

function readForm() {
  const { scale, factor, width, height, weights, clean, format, quality, metadata } = options.elements;
  const values = { scale, factor, width, height, weights, clean, format, quality };
  const checked = { metadata: metadata.checked };
  for (const [name, element] of Object.entries(values)) values[name] = element.value;
  return { ...values, ...checked };
}

function fillForm(choices) {
  for (const [name, value] of Object.entries(choices)) {
    if (typeof value === "boolean") options[name].checked = value;
    else if (options[name]) options[name].value = value;
  }
}

function drawChoices() {
  const { scale, weights, clean, format, quality } = readForm();
  const sized = scale in SIZES;
  const offered = info ? { photo: info.weights.photo, between: info.between ?? info.weights.photo } : {};
  for (const [name, fields] of Object.entries(SIZES)) {
    find(`#${name}-field`).hidden = scale !== name;
    for (const field of fields) options[field].disabled = scale !== name;
  }
  for (const [name, scales] of Object.entries(offered)) {
    options.weights.querySelector(`[value=${name}]`).disabled = !(sized ? scales.length : scales.includes(+scale));
  }
  for (const choice of document.querySelectorAll(".service-only")) choice.hidden = Boolean(info?.browser);
  find("#clean-field").hidden = weights !== "between";
  find("#quality-field").hidden = format === "png" || format === "tiff";
  find("#clean-value").textContent = percent(+clean);
  find("#quality-value").textContent = quality;
  const help = { auto: "helpAuto", bgai: "helpBgai", photo: "helpPhoto", between: "helpBetween", official: "helpOfficial" };
  find("#weights-help").textContent = text(help[weights]);
  const names = [options.weights, options.format].map((select) => select.selectedOptions[0].textContent);
  find("#summary").textContent = [sized ? text(scale) : `×${scale}`, ...names].join(" · ");
}

options.addEventListener("input", () => {
  drawChoices();
  writeChoices(readForm());
});
options.addEventListener("invalid", () => (find("#choices").open = true), true);
options.addEventListener("submit", (event) => event.preventDefault());

// Pictures in

async function add(files) {
  if (!files.length) return tell(text("newsNothing"));
  if (!options.reportValidity()) return;
  const given = currentOptions();
  for (const file of files) {
    const item = make({ key: randomLabel(), name: file.name, file, options: given });
    if (file.size > info.limits.bytes) {
      item.fail(text("tooLarge", { name: file.name, bytes: bytes(info.limits.bytes) }));
    } else {
      await unsent.put({ key: item.key, name: file.name, file, options: given, added: Date.now() });
    }
  }
  tell(text("newsAdded", { count: files.length }));
  draw();
  send();
}

function make(record) {
  const item = new Item(record, actions);
  items.set(record.key, item);
  find("#list").append(item.element);
  return item;
}

function drop(item) {
  items.delete(item.key);
  item.element.remove();
  unsent.remove(item.key);
  draw();
}

// Sends what the service has not got, a few pictures at a time, in order.
async function send() {
  if (uploads >= UPLOADS_AT_ONCE) return;
  const item = [...items.values()].find((each) => each.state === "unsent" && !each.sending);
  if (!item) return;
  uploads++;
  item.sending = true;
  item.draw();
  let wait = 0;
  try {
    const job = await service.addJob(client, item.key, item.file, item.options);
    reached(true);
    await unsent.remove(item.key);
    if (items.has(item.key)) adopt(item, job);
    else await service.removeJob(job.id); // stopped while it was sent
  } catch (error) {
    const lasting = error instanceof service.Refused && ![401, 429, 503].includes(error.status);
    if (lasting) {
      await unsent.remove(item.key);
      item.fail(error.message);
      tell(text("newsFailed", { name: item.name, error: error.message }));
    } else {
      wait = error.retrySeconds ?? RETRY_SECONDS;
      if (error.status === 401) askForToken();
      else reached(Boolean(error.status));
    }
  }
  item.sending = false;
  uploads--;
  if (items.has(item.key)) item.draw();
  draw();
  setTimeout(send, wait * 1000);
  if (!wait) send();
}

function adopt(item, job) {
  const known = items.get(job.id); // the stream of events was faster
  items.delete(item.key);
  if (known && known !== item) {
    items.delete(job.id);
    known.element.remove();
    job = known.job;
  }
  item.key = job.id;
  items.set(job.id, item);
  item.update(job);
}

async function addAndSend(files) {
  await attempt(async () => add(await files));
  send();
}

const dropZone = find("#drop");
find("#choose").addEventListener("click", () => find("#files").click());
find("#choose-folder").addEventListener("click", () => find("#folder").click());
find("#files").addEventListener("change", (event) => {
  addAndSend([...event.target.files]);
  event.target.value = "";
});
find("#folder").addEventListener("change", (event) => {
  addAndSend(picturesAmong([...event.target.files], info.suffixes));
  event.target.value = "";
});
find("#sample").addEventListener("click", () => {
  addAndSend(fetch("sample.jpg").then(async (answer) => [new File([await answer.blob()], "cat.jpg")]));
});
document.addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (files.length && info) addAndSend(files);
});
let inside = 0;
document.addEventListener("dragenter", () => dropZone.classList.toggle("over", ++inside > 0));
document.addEventListener("dragleave", () => dropZone.classList.toggle("over", --inside > 0));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  inside = 0;
  dropZone.classList.remove("over");
  if (info) addAndSend(droppedFiles(event.dataTransfer, info.suffixes));
});

// What the service tells

function changed(job) {
  let item = items.get(job.id);
  if (job.state === "removed") {
    if (item) drop(item);
    return;
  }
  const before = item?.state;
  compare.update(job);
  if (item) item.update(job);
  else item = make({ key: job.id, name: job.name, job });
  if (before && before !== job.state && job.state === "done") tell(text("newsDone", { name: job.name }));
  if (before && before !== job.state && job.state === "failed") {
    tell(text("newsFailed", { name: job.name, error: job.error }));
  }
  draw();
}

// Results that were removed while the page did not listen.
async function dropForgotten() {
  const known = new Set((await service.getJobs(client)).map((job) => job.id));
  for (const item of [...items.values()]) if (item.job && !known.has(item.job.id)) drop(item);
}

function watch() {
  watching?.close();
  watching = service.watchJobs(client, {
    change: changed,
    up: () => {
      reached(true);
      attempt(dropForgotten);
      send();
    },
    down: (events) => {
      reached(false);
      if (events.readyState === EventSource.CLOSED) setTimeout(start, RETRY_SECONDS * 1000);
    },
  });
}

find("#zip").addEventListener("click", async () => {
  Object.assign(document.createElement("a"), { href: await service.zipAddress(client), download: "enlarged.zip" }).click();
});

find("#clear").addEventListener("click", async () => {
  const ended = [...items.values()].filter((item) => ["done", "failed"].includes(item.state));
  await Promise.all(ended.map((item) => item.job && attempt(() => service.removeJob(item.job.id))));
  for (const item of ended) drop(item);
  find("#choose").focus();
});

// The whole

function tell(news) {
  find("#news").textContent = news;
}

function draw() {
  const all = items.size;
  const done = [...items.values()].filter((item) => item.state === "done").length;
  const count = text("count", { done, all });
  document.body.classList.toggle("empty", !all);
  find("#bar").hidden = !all;
  find("#count").textContent = count;
  find("#zip").hidden = done < 2;
  find("#clear").hidden = ![...items.values()].some((item) => ["done", "failed"].includes(item.state));
  document.title = all ? `${count} · bgai` : "bgai";
}

function drawTexts() {
  translate(document);
  const local = info?.browser || ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  if (!local) find("[data-t=dropHelp]").textContent = text("dropHelpRemote", { host: location.host });
  if (info) {
    const { limits, kinds, browser } = info;
    const values = { kinds: listed(kinds), bytes: bytes(limits.bytes), pixels: limits.pixels / 1e6 };
    find("#kinds").textContent = text("kinds", values);
    find("[data-t=quality]").textContent = text(browser ? "qualityHere" : "quality");
    find("#engine").textContent = browser ? text("browser", { engine: engineName(browser) }) : "";
  }
  find("#stage").setAttribute("aria-label", text("stage"));
  find("#handle").setAttribute("aria-label", text("slider"));
  find(".zoom").setAttribute("aria-label", text("zoom"));
  for (const button of document.querySelectorAll("[data-zoom]")) {
    if (button.dataset.zoom !== "fit") button.textContent = percent(button.dataset.zoom);
  }
  find("#compare-close").setAttribute("aria-label", text("close"));
  find("#compare-close").title = text("close");
  for (const item of items.values()) item.draw();
  drawChoices();
  draw();
}

find("#language").addEventListener("change", (event) => {
  writeLanguage(setLanguage(event.target.value));
  drawTexts();
});

function engineName({ provider, threads }) {
  return provider === "webgpu" ? text("engineGpu") : text(threads > 1 ? "engineThreads" : "engineThread", { threads });
}

function askForToken() {
  find("#main").hidden = true;
  find("#session").hidden = false;
  find("#token").focus();
}

find("#session").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await service.openSession(find("#token").value);
    find("#session").hidden = true;
    await start();
  } catch (error) {
    find("#token-error").textContent = error.message;
  }
});

async function start() {
  try {
    info = await service.getInfo();
    for (const job of await service.getJobs(client)) changed(job);
  } catch (error) {
    if (error.status === 401) return askForToken();
    reached(false);
    setTimeout(start, RETRY_SECONDS * 1000);
    return;
  }
  reached(true);
  find("#main").hidden = false;
  const known = await unsent.all();
  known.sort((first, second) => first.added - second.added);
  for (const record of known) if (!items.has(record.key)) make(record);
  find("#files").accept = info.suffixes.join(",");
  drawTexts();
  watch();
  send();
}

async function enter() {
  find("#language").value = setLanguage(readLanguage());
  fillForm(readChoices());
  find("#choices").open = matchMedia("(min-width: 60rem)").matches;
  drawTexts();
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) {
    history.replaceState(null, "", location.pathname);
    await service.openSession(token).catch(() => {});
  }
  await start();
}

enter();
