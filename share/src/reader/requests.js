// The requests of a stream, and of polls in its place.

export class Requests {
  #request;
  #cacheKey = '';                         // once a response has come from a cache: a parameter of each URL

  constructor(request) {
    this.#request = request;
  }

  // Returns the response to a request for what follows an id. A hub says its keepalive, and echoes the token of a request: what
  // has another one, or none, comes from a cache.
  async make(method, signal, after, preference = '', isOfHub) {
    const { url, origin, headers, withCredentials } = this.#request;
    const isHead = method === 'HEAD';
    const all = new Headers(typeof headers === 'function' ? await headers() : headers);
    if (!all.has('Accept')) all.set('Accept', 'text/event-stream');
    // A header takes bytes: those of the id in UTF-8, as the browser's EventSource sends them.
    if (after) all.set('Last-Event-ID', unescape(encodeURIComponent(after)));
    const token = 'request=' + Math.random();
    const isEchoed = after && (preference || isOfHub) && !isHead;
    // Another origin would be asked whether it allows the header.
    if (preference || isEchoed || origin === globalThis.origin) all.append('Prefer', preference + token);
    const response = await fetch(url + (this.#cacheKey && this.#cacheKey + token), {
      method, headers: all, body: isHead ? undefined : this.#request.body, signal, cache: 'no-store',
      credentials: withCredentials ? 'include' : 'same-origin',
    });
    const echo = response.headers.get('Preference-Applied') ?? (isEchoed ? '' : token);
    if (this.#cacheKey || response.status !== 200 || echo.includes(token)) return response;
    response.body.cancel();
    this.#cacheKey = (url.includes('?') ? '&' : '?') + 'eventsource-';
    return this.make(method, signal, after, preference, isOfHub);
  }
}

export const isStream = ({ status, headers }) => status === 200 && /^text\/event-stream\b/i.test(headers.get('Content-Type'));

// A refusal that stays one.
export const isFinal = status => /^(204|4(?!08|25|29)..)$/.test(status);

// A stream that ends as soon as it has sent what its client did not have. A server that ignores the preference sends a stream.
export const isPoll = response => isStream(response) && /\bwait=/.test(response.headers.get('Preference-Applied'));
