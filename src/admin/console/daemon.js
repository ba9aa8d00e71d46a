import { keyed, make, setProp, setText, within } from './dom.js'
import { bytes, count, percent, perSecond, span } from './words.js'

/** @typedef {import('../status.ts').ConsoleEvent} ConsoleEvent */

/** Pool, loop, memory. @param {HTMLElement} root */
export function selfView(root) {
  /** @param {ConsoleEvent} event */
  return function show({ pool, loop, memory, rows, uptimeS, version, mode }) {
    /** @type {{ name: string, text: string, share?: number, tone?: string | undefined }[]} */
    const facts = [
      {
        name: 'picture pool',
        text: `${percent(pool.utilisation)} busy, ${count(pool.queued)} queued`,
        share: pool.utilisation,
        tone: pool.queued > 0 ? 'busy' : undefined,
      },
      {
        name: 'event loop',
        text: `${loop.p50Ms.toFixed(1)} ms, p99 ${loop.p99Ms.toFixed(1)} ms late`,
        share: loop.p99Ms / 300,
        tone: loop.p99Ms > 150 ? 'bad' : undefined,
      },
      { name: 'memory', text: `${bytes(memory.rssBytes)}, heap ${bytes(memory.heapUsedBytes)}` },
      { name: 'rows on the way', text: count(rows.buffered) },
      { name: 'jobs from', text: mode.source },
      { name: 'limits in', text: mode.limiter },
      { name: 'rows to', text: mode.rows },
      { name: 'pictures to', text: mode.store },
      { name: 'up for', text: `${span(uptimeS)}, version ${version}` },
    ]
    keyed(root, facts, {
      key: ({ name }) => name,
      create: ({ name, share }) =>
        make(
          'div',
          {},
          make('dt', {}, name),
          make('dd'),
          ...(share === undefined ? [] : [make('i', { 'aria-hidden': 'true' })]),
        ),
      update: (node, { text, share, tone }) => {
        setText(within(node, 'dd'), text)
        if (share !== undefined) node.style.setProperty('--share', percent(Math.min(1, share)))
        setProp(node, 'data-tone', tone)
      },
    })
  }
}

/** The daemons that share the Redis of this one; each has a page of its own. @param {HTMLElement} nav */
export function fleetView(nav) {
  /** @param {ConsoleEvent['fleet']} fleet */
  return function show(fleet) {
    nav.hidden = fleet.length < 2
    if (nav.hidden) return
    const self = fleet.find(({ isSelf }) => isSelf)
    // This one first: with ten of them the rest is a matter of scrolling.
    const ordered = [...fleet].sort((a, b) => Number(b.isSelf) - Number(a.isSelf))
    keyed(nav, ordered, {
      key: ({ id }) => id,
      create: () => make('a', {}, make('i', { 'aria-hidden': 'true' }), make('b'), make('span')),
      update: (link, { name, url, ready, isSelf, silentMs, perSecond: rate, inFlight }) => {
        const silent = silentMs > 10_000
        // Loopback is another machine's own: from here the link would lead to the wrong daemon.
        const isReachable =
          url !== null &&
          /^https?:\/\//.test(url) &&
          (name === self?.name || !/\/\/(localhost|127\.|\[::1\])/.test(url))
        setProp(link, 'href', isReachable ? url : undefined)
        setProp(link, 'aria-current', isSelf ? 'page' : undefined)
        setProp(link, 'data-tone', silent ? 'bad' : ready ? 'fine' : 'busy')
        setText(within(link, 'b'), labelOf({ name, url }, fleet))
        const state = silent
          ? `silent for ${span(silentMs / 1000)}`
          : ready
            ? `${perSecond(rate)}`
            : 'not ready'
        setText(within(link, 'span'), state)
        setProp(
          link,
          'title',
          `${name}${url === null ? '' : `:${portOf(url)}`}: ${count(inFlight)} jobs in hand${isReachable ? '' : '; its console is open to its own machine only'}`,
        )
      },
    })
  }
}

/**
 * As little of a daemon's name as tells it from the others: ten of them are to be seen at once.
 * @param {{ name: string, url: string | null }} member @param {ConsoleEvent['fleet']} fleet
 */
function labelOf({ name, url }, fleet) {
  const isOnly = (/** @type {(name: string) => string} */ cut) =>
    fleet.filter((other) => cut(other.name) === cut(name)).length === 1
  const short = (/** @type {string} */ text) => (/^[\d.:]+$/.test(text) ? text : (text.split('.')[0] ?? text))
  if (isOnly(short)) return short(name)
  return isOnly((text) => text) || url === null ? name : `${name}:${portOf(url)}`
}

/** @param {string} url */
function portOf(url) {
  const { port, protocol } = new URL(url)
  return port || (protocol === 'https:' ? '443' : '80')
}
