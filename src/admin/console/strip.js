import { keyed, make, setText } from './dom.js'
import { count } from './words.js'

/** @typedef {import('../status.ts').ConsoleEvent} ConsoleEvent */

const SHOWN_MAX = 24
/** A busy daemon makes several a second, and nobody can look at those. */
const EVERY_MS = 5_000
const TRIES_MAX = 3

/** The newest resized pictures, as the daemon serves them out of its store. @param {HTMLElement} root @param {HTMLElement} counts */
export function stripView(root, counts) {
  let shownAtMs = Number.NEGATIVE_INFINITY

  /** @param {string} key */
  function create(key) {
    // Nobody who does not come near the strip makes the daemon read its store.
    const image = make('img', { loading: 'lazy', alt: '', width: 84, height: 84, src: key })
    const item = make(
      'li',
      {},
      make('a', { href: key, target: '_blank', rel: 'noopener', 'aria-label': 'A resized picture' }, image),
    )
    let tries = 1
    image.addEventListener('error', () => {
      item.hidden = tries >= TRIES_MAX
      if (!item.hidden) setTimeout(() => image.setAttribute('src', key), EVERY_MS * tries++)
    })
    return item
  }

  /** @param {ConsoleEvent['pictures']} pictures */
  return function show({ newest, stored, known, rejected }) {
    setText(counts, `${count(stored)} stored, ${count(known)} known before, ${count(rejected)} rejected`)
    const nowMs = performance.now()
    // Who moves along the strip by keyboard is not to lose their place.
    if (nowMs - shownAtMs < EVERY_MS || root.contains(document.activeElement)) return
    if (newest.length > 0) shownAtMs = nowMs
    keyed(root, newest.slice(0, SHOWN_MAX), { key: (key) => key, create, update: () => {} })
    if (newest.length === 0)
      root.append(make('li', { class: 'none', 'data-key': 'none' }, 'None since the start.'))
  }
}
