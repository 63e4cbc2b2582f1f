// All texts of the page: English and German, in this order. {name} stands for a value.
export const LANGUAGES = ["en", "de"];

export const TEXTS = {
  tagline: ["Sharp, faithful enlargements", "Scharfe, treue Vergrößerungen"],
  language: ["Language", "Sprache"],
  tokenTitle: ["This service asks for its token", "Dieser Dienst verlangt sein Kennwort"],
  tokenHelp: ["It was printed where bgai serve was started.", "Es steht dort, wo bgai serve gestartet wurde."],
  token: ["Token", "Kennwort"],
  open: ["Open", "Öffnen"],
  offline: [
    "The service cannot be reached. It is asked again every few seconds.",
    "Der Dienst ist nicht erreichbar. Er wird alle paar Sekunden erneut gefragt.",
  ],
  dropTitle: ["Drop pictures or folders here", "Bilder oder Ordner hier ablegen"],
  dropHelp: ["or paste one. They stay on this machine.", "oder einfügen. Sie bleiben auf diesem Rechner."],
  dropHelpRemote: ["or paste one. They go to {host}.", "oder einfügen. Sie gehen an {host}."],
  choose: ["Choose pictures", "Bilder wählen"],
  chooseFolder: ["Choose a folder", "Ordner wählen"],
  sample: ["Try the sample", "Beispiel ausprobieren"],
  kinds: [
    "{kinds}, up to {bytes} and {pixels} megapixels.",
    "{kinds}, bis {bytes} und {pixels} Megapixel.",
  ],
  browser: [
    "Enlarged by this browser, {engine}: in 8 bits and sRGB, without camera data; saved as PNG, JPEG or WebP.",
    "Dieser Browser vergrößert, {engine}: in 8 Bit und sRGB, ohne Kameradaten; gesichert als PNG, JPEG oder WebP.",
  ],
  engineGpu: ["on the GPU", "auf der GPU"],
  engineThreads: ["in {threads} threads", "in {threads} Threads"],
  engineThread: ["in one thread", "in einem Thread"],
  saveAll: ["Save all", "Alle sichern"],
  clear: ["Clear", "Leeren"],
  count: ["{done} of {all} done", "{done} von {all} fertig"],
  choices: ["Choices", "Auswahl"],
  choicesHelp: [
    "For the pictures that you add next.",
    "Für die Bilder, die als Nächstes dazukommen.",
  ],
  scale: ["Enlarge", "Vergrößern"],
  factor: ["Factor", "Faktor"],
  factorHelp: ["Times as wide and high", "Mal so breit und hoch"],
  size: ["Size", "Größe"],
  width: ["Width", "Breite"],
  height: ["Height", "Höhe"],
  sizeHelp: [
    "In pixels. One is enough; with both, the picture fits in.",
    "In Pixeln. Eine genügt; mit beiden passt das Bild hinein.",
  ],
  weights: ["Weights", "Gewichte"],
  weightsAuto: ["Automatic", "Automatisch"],
  weightsPlain: ["For clean pictures", "Für saubere Bilder"],
  weightsPhoto: ["For compressed or noisy ones", "Für komprimierte oder verrauschte"],
  weightsBetween: ["Between the two", "Zwischen beiden"],
  weightsOfficial: ["The authors’", "Die der Autoren"],
  helpAuto: [
    "Picked for each picture, by how strongly it was compressed.",
    "Für jedes Bild nach der Stärke seiner Kompression gewählt.",
  ],
  helpBgai: ["Keeps all that is in the picture.", "Lässt alles, was im Bild ist."],
  helpPhoto: ["Removes the traces of JPEG, and noise.", "Entfernt Spuren von JPEG und Rauschen."],
  helpBetween: ["As strong as you set it.", "So stark, wie Sie es einstellen."],
  helpOfficial: ["Downloaded once, about 3 MB.", "Wird einmal geladen, etwa 3 MB."],
  clean: ["Traces and noise removed", "Spuren und Rauschen entfernt"],
  format: ["Format", "Format"],
  formatKeep: ["As the picture", "Wie das Bild"],
  quality: ["Quality of JPEG, WebP and AVIF", "Qualität von JPEG, WebP und AVIF"],
  qualityHere: ["Quality of JPEG and WebP", "Qualität von JPEG und WebP"],
  metadata: ["Keep camera data (EXIF, XMP)", "Kameradaten behalten (EXIF, XMP)"],
  sending: ["Being sent", "Wird übertragen"],
  willBeSent: ["Will be sent", "Wird noch übertragen"],
  waiting: ["Waiting, {ahead} before it", "Wartet, {ahead} davor"],
  next: ["Is next", "Kommt als Nächstes"],
  begun: ["Being enlarged", "Wird vergrößert"],
  runningHere: ["{percent} done; the rest follows", "{percent} fertig; der Rest folgt"],
  running: ["{percent} done", "{percent} fertig"],
  runningLeft: ["{percent} done, {left} left", "{percent} fertig, noch {left}"],
  done: ["Done", "Fertig"],
  failed: ["Failed", "Misslungen"],
  newsDone: ["{name} is done", "{name} ist fertig"],
  newsFailed: ["{name} failed: {error}", "{name} ist misslungen: {error}"],
  newsAdded: ["{count} pictures added", "{count} Bilder hinzugefügt"],
  newsNothing: ["No pictures among these files", "Keine Bilder unter diesen Dateien"],
  tooLarge: [
    "{name}: larger than the limit of {bytes} here",
    "{name}: größer als die Grenze von {bytes} hier",
  ],
  compare: ["Compare", "Vergleichen"],
  save: ["Save", "Sichern"],
  again: ["Enlarge again, with the choices as they are now", "Nochmals vergrößern, mit der jetzigen Auswahl"],
  stop: ["Stop", "Anhalten"],
  remove: ["Remove", "Entfernen"],
  of: ["{action}: {name}", "{action}: {name}"],
  progressOf: ["Progress of {name}", "Fortschritt von {name}"],
  part: ["Part", "Ausschnitt"],
  partOf: ["Part {number} of {all}", "Ausschnitt {number} von {all}"],
  fit: ["Fit", "Einpassen"],
  zoom: ["Zoom", "Vergrößerung der Ansicht"],
  loupe: ["Loupe", "Lupe"],
  close: ["Close", "Schließen"],
  bicubic: ["bicubic", "bikubisch"],
  loading: ["Loading …", "Lädt …"],
  notShown: ["The picture cannot be shown.", "Das Bild lässt sich nicht zeigen."],
  keys: [
    "Drag to move, wheel or pinch to zoom. Keys: ← → slider, + − zoom, 0 fit, 1 for 100%, 4 for 400%, L loupe.",
    "Ziehen verschiebt, Mausrad oder zwei Finger vergrößern. Tasten: ← → Regler, + − Größe, 0 einpassen, 1 für 100 %, 4 für 400 %, L Lupe.",
  ],
  slider: ["Slider between bicubic and bgai", "Regler zwischen bikubisch und bgai"],
  sliderValue: ["bicubic up to {percent} of the width", "bikubisch bis {percent} der Breite"],
  stage: ["Picture; arrow keys move it", "Bild; Pfeiltasten verschieben es"],
};

let language = "en";

export function setLanguage(wanted) {
  language = LANGUAGES.includes(wanted) ? wanted : "en";
  document.documentElement.lang = language;
  return language;
}

export function text(key, values = {}) {
  const template = TEXTS[key][LANGUAGES.indexOf(language)];
  return template.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

// The texts of all elements that name one.
export function translate(root) {
  for (const element of root.querySelectorAll("[data-t]")) element.textContent = text(element.dataset.t);
}

export function bytes(count) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  const power = Math.min(3, Math.floor(Math.log10(Math.max(count, 1)) / 3));
  const value = count / 1000 ** power;
  return new Intl.NumberFormat(language, {
    style: "unit", unit: units[power], maximumFractionDigits: value < 10 && power ? 1 : 0,
  }).format(value);
}

export function listed(names) {
  return new Intl.ListFormat(language, { type: "conjunction" }).format(names);
}

export function percent(share) {
  return new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 0 }).format(share);
}

export function duration(seconds) {
  const minutes = seconds >= 90;
  return new Intl.NumberFormat(language, {
    style: "unit", unit: minutes ? "minute" : "second", unitDisplay: minutes ? "long" : "short",
  }).format(Math.max(1, Math.round(minutes ? seconds / 60 : seconds)));
}
