// Pictures from drops, folders and the clipboard, and small pictures of them.

const THUMBNAIL = 144;

// All files of a drop; those of folders that are no pictures by their names are left out, as bgai upscale does.
export async function droppedFiles(transfer, suffixes) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  const files = [];
  for (const entry of entries) {
    if (entry.isFile) files.push(await fileOf(entry));
    else files.push(...picturesAmong(await filesIn(entry), suffixes));
  }
  return files;
}

export function picturesAmong(files, suffixes) {
  return files.filter(
    (file) => !file.name.startsWith(".") && suffixes.some((suffix) => file.name.toLowerCase().endsWith(suffix)),
  );
}

const fileOf = (entry) => new Promise((resolve, reject) => entry.file(resolve, reject));

async function filesIn(folder) {
  const reader = folder.createReader();
  const files = [];
  for (;;) {
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // 100 at a time
    if (!entries.length) return files;
    for (const entry of entries) files.push(...(entry.isFile ? [await fileOf(entry)] : await filesIn(entry)));
  }
}

let before = Promise.resolve();

// A canvas with a small picture of a file, one after the other; null where the browser does not know its kind.
export function thumbnail(file) {
  before = before.then(async () => {
    try {
      const whole = await createImageBitmap(file);
      const scale = Math.min(1, THUMBNAIL / Math.min(whole.width, whole.height));
      const canvas = document.createElement("canvas");
      canvas.width = Math.max(1, Math.round(whole.width * scale));
      canvas.height = Math.max(1, Math.round(whole.height * scale));
      const context = canvas.getContext("2d");
      context.imageSmoothingQuality = "high";
      context.drawImage(whole, 0, 0, canvas.width, canvas.height);
      whole.close();
      return canvas;
    } catch {
      return null;
    }
  });
  return before;
}
