// Relative to the page, or to the script of a worker.
export const absolute = url => new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);

// A URL as fetch takes it: that of a page may have the name and password of its user.
export function plain(url) {
  const target = absolute(url);
  target.hash = target.username = target.password = '';
  return target;
}
