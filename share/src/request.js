// The request of a stream, as a page gives it to whoever reads the stream:
//
// url, origin, method, headers, body, withCredentials    as fetch takes them; headers may be a function
// gap, position                                          the types of these events
// start, history, state, key, keepalive                  as the options of connect
// reason                                                 why the stream was polled last; '' if it was not

// True if a server can tell that it has had a request before, or need not.
export function isRepeatable({ method }, lastEventId) {
  return lastEventId || /^(GET|QUERY)$/i.test(method);
}
