// Pictures and results that outlive a reload, in IndexedDB; without it, as in some private windows, they do not.

function opened() {
  return new Promise((resolve) => {
    const opening = indexedDB.open("bgai-standalone", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("jobs", { keyPath: "id" });
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => resolve(null);
  });
}

// Those that are older than so many hours are removed.
export async function openRecords(keepHours) {
  const database = await opened();
  const inStore = (mode, use) => new Promise((resolve) => {
    if (!database) return resolve(null);
    const transaction = database.transaction("jobs", mode);
    const request = use(transaction.objectStore("jobs"));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = () => resolve(null); // the browser's room is full: the picture stays in this page alone
  });
  const all = async () => (await inStore("readonly", (store) => store.getAll())) ?? [];
  const put = (record) => inStore("readwrite", (store) => store.put(record));
  const remove = (id) => inStore("readwrite", (store) => store.delete(id));
  for (const { id, created } of await all()) if (Date.now() - created > keepHours * 3600e3) await remove(id);
  return {
    all: async (tab) => (await all()).filter((record) => record.tab === tab).sort((a, b) => a.created - b.created),
    put,
    remove,
  };
}
