import { make, setProp, setText, within } from './dom.js'
import { isBlocked, isFull, partsOf, queuedOf, usedOf, waitingBehind } from './levels.js'
import { count, percent, perSecond, timeOf } from './words.js'

/** @typedef {import('../status.ts').ConsoleEvent} ConsoleEvent */
/** @typedef {ConsoleEvent['platforms'][number]} Platform */
/** @typedef {import('../../job/permit.ts').LevelState} LevelState */
/** @typedef {{ id: string, name: string, waiting: number, rate: number | undefined, used: number, shut: boolean, why: string, title: string }} Lane */

/** So many waiting calls fill a lane; less is drawn by its logarithm. */
const WAITING_FULL = 10_000

/**
 * A platform as the picture shows it: what waits, how far its gate is down, and whether it is shut.
 * @param {Platform} platform @param {ConsoleEvent} event @param {number | undefined} rate @param {number} nowMs
 * @returns {Lane}
 */
export function gate(platform, event, rate, nowMs) {
  const { platform: id, pausedBecause } = platform
  const { levels, permits, parking } = event
  const own = levels.filter(({ level }) => partsOf(level).platform === id)
  const holding = own.filter((level) => waitingBehind(level, permits) > 0)
  const shared = own.filter(({ level }) => partsOf(level).kind !== 'endpoint')
  const parked = parking.find((one) => one.platform === id)
  const why = whyShut(platform, event, shared, nowMs)
  return {
    id,
    name: id,
    waiting: Math.max(queuedOf(permits, id), parked?.waiting ?? 0) + (parked?.parked ?? 0),
    rate,
    // What calls wait for decides how far it is down; while none waits, what they share.
    used: Math.max(0, ...(holding.length > 0 ? holding : shared).map(usedOf)),
    shut: why !== '',
    why,
    title: pausedBecause ?? '',
  }
}

/** Empty while it is not. @param {Platform} platform @param {ConsoleEvent} event @param {readonly LevelState[]} shared @param {number} nowMs */
function whyShut({ pausedBecause, breakerOpen, hasCredentials }, { services }, shared, nowMs) {
  if (!hasCredentials) return 'no credentials'
  if (pausedBecause !== null) return 'paused'
  if (services.some(({ service, away }) => service === 'redis' && away !== null)) return 'no permits'
  if (breakerOpen) return 'no connection'
  const of = (/** @type {string} */ kind) => shared.filter(({ level }) => partsOf(level).kind === kind)
  const block = of('platform').find((level) => isBlocked(level, nowMs))
  if (block !== undefined) return `blocked until ${timeOf(block.blockedUntilMs)}`
  // Of several credentials one is enough to go on with.
  const quotas = of('quota')
  if (quotas.length > 0 && quotas.every(isFull))
    return `quota spent until ${timeOf(Math.min(...quotas.map((one) => one.resetsAtMs)))}`
  const credentials = of('credential')
  if (credentials.length > 0 && credentials.every((level) => isBlocked(level, nowMs)))
    return `blocked until ${timeOf(Math.min(...credentials.map((one) => one.blockedUntilMs)))}`
  return ''
}

export const laneView = {
  /** @param {Lane} lane */
  create({ id }) {
    const posts = make('svg:svg', { class: 'gate', viewBox: '0 0 24 28', 'aria-hidden': 'true' })
    posts.append(
      make('svg:path', { class: 'water', d: 'M1 24h22' }),
      make('svg:path', { class: 'posts', d: 'M4 3v24M20 3v24M2 3h20' }),
      make('svg:rect', { class: 'board', x: 6, y: 5, width: 12, height: 20, rx: 1 }),
    )
    return make(
      'li',
      { 'data-place': `lane:${id}` },
      make('a', { href: `#limits-${id}` }),
      make('span', { class: 'channel' }, make('i'), make('span')),
      posts,
      make('span', { class: 'rate' }),
    )
  },
  /** @param {HTMLElement} node @param {Lane} lane */
  update(node, { id, name, waiting, rate, used, shut, why, title }) {
    const link = within(node, 'a')
    setText(link, name)
    setProp(link, 'title', name)
    setProp(link, 'href', id === 'others' ? '#limits' : `#limits-${id}`)
    const channel = within(node, '.channel')
    setText(
      within(channel, 'span'),
      [why, waiting > 0 ? `${count(waiting)}\u00a0waiting` : ''].filter(Boolean).join(', '),
    )
    const fill = Math.min(1, Math.log10(1 + waiting) / Math.log10(1 + WAITING_FULL))
    channel.style.setProperty('--fill', percent(fill))
    // The board comes down as the limit is used up; shut, it stands on the ground.
    within(node, '.board').style.transform = `translateY(${shut ? 0 : -16 + 13 * used}px)`
    const runs = rate !== undefined && rate > 0
    setText(within(node, '.rate'), shut && !runs ? '' : perSecond(rate))
    within(node, '.rate').classList.toggle('on', runs)
    setProp(node, 'data-tone', shut ? 'bad' : used > 0.9 ? 'busy' : undefined)
    setProp(node, 'title', title === '' ? undefined : title)
  },
}
