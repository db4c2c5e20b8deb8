// Says on a page how its stream is: live, reconnecting (for two seconds nobody is told), refused, or ended, and why.
export function badge(hub, element) {
  let timer, reason
  const show = text => {
    clearTimeout(timer)
    timer = undefined
    element.textContent = text
    element.classList.toggle('live', text === 'live')
  }
  hub.onopen = () => show('live')
  hub.onerror = ({status}) => {
    if (hub.readyState === hub.CONNECTING) timer ??= setTimeout(show, 2000, 'reconnecting')
    else if (hub.readyState === hub.CLOSED) show(status === 401 ? 'log in again' : 'not available')
    // otherwise it is an event of the application with this name
  }
  hub.addEventListener('closed', ({data}) => { reason = data })  // the application's, before it ends the stream
  hub.addEventListener('finish', () => show(reason ? `ended: ${reason}` : 'ended'))
  if (hub.readyState === hub.OPEN) show('live')
}
