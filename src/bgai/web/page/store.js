// What outlives a reload: choices and the client's label in localStorage, pictures not yet sent in IndexedDB.

const DEFAULTS = { scale: "4", factor: "1.5", width: "1920", height: "", weights: "auto", clean: "0.5", format: "", quality: "95", metadata: true };

export function readChoices() {
  try {
    return { ...DEFAULTS, ...JSON.parse(localStorage.getItem("bgai.choices") ?? "{}") };
  } catch {
    return { ...DEFAULTS };
  }
}

export function writeChoices(choices) {
  localStorage.setItem("bgai.choices", JSON.stringify(choices));
}

export function readLanguage() {
  return localStorage.getItem("bgai.language") ?? navigator.language.slice(0, 2);
}

export function writeLanguage(language) {
  localStorage.setItem("bgai.language", language);
}

export function randomLabel() {
  const random = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// A label for this browser's jobs that nobody can guess.
export function clientLabel() {
  let label = localStorage.getItem("bgai.client");
  if (!label) {
    label = randomLabel();
    localStorage.setItem("bgai.client", label);
  }
  return label;
}

const database = new Promise((resolve) => {
  const opening = indexedDB.open("bgai", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("unsent", { keyPath: "key" });
  opening.onsuccess = () => resolve(opening.result);
  opening.onerror = () => resolve(null); // private windows of some browsers: such pictures are lost at a reload
});

async function inStore(mode, use) {
  const opened = await database;
  if (!opened) return null;
  return new Promise((resolve) => {
    const request = use(opened.transaction("unsent", mode).objectStore("unsent"));
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => resolve(null);
  });
}

export const unsent = {
  all: async () => (await inStore("readonly", (store) => store.getAll())) ?? [],
  put: (record) => inStore("readwrite", (store) => store.put(record)),
  remove: (key) => inStore("readwrite", (store) => store.delete(key)),
};
