// The locks of the browser, by which tabs notice that another one has ended.

export const { locks } = globalThis.navigator ?? {};

// Holds a lock, once it is granted, until the tab leaves: gone is an AbortController, which has a signal as the options have.
export async function hold(name, gone, then) {
  return locks.request(name, gone, () => {
    if (gone.signal.aborted) return;      // Chromium may grant a lock all the same
    then();
    return new Promise(resolve => { gone.signal.onabort = resolve });
  });
}
