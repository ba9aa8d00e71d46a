import { isBlocked, isFull, partsOf, queuedOf, usedOf, waitingBehind } from './levels.js'
import { count, percent, perSecond, some, span, sum, timeOf } from './words.js'

/** @typedef {import('../status.ts').ConsoleEvent} ConsoleEvent */
/** @typedef {{ state: 'fine' | 'watch' | 'bad', text: string }} Verdict */

/** Above it MillraceLoopSlow is not far. */
const LOOP_MS_MAX = 150
const POOL_FULL = 0.9
/** Of what is tried; a few time-outs are part of every day. */
const FAILING_SHARE = 1 / 3

/**
 * Is it the upstream, the limits, a sink, or us: one sentence each, and the one that decides how fast things go now. Pure.
 * @param {ConsoleEvent} event @param {import('./rates.js').Rates} rates @param {number} nowMs
 * @returns {{ headline: Verdict, upstream: Verdict, limits: Verdict, sinks: Verdict, daemon: Verdict }}
 */
export function verdictOf(event, rates, nowMs) {
  const upstream = upstreamOf(event, rates, nowMs)
  const limits = limitsOf(event)
  const sinks = sinksOf(event)
  const daemon = daemonOf(event)
  const all = { sinks, limits, upstream, daemon }
  const bad = Object.values(all).find(({ state }) => state === 'bad')
  return { headline: bad ?? headlineOf(event, rates, all), ...all }
}

/** @param {ConsoleEvent} event @param {import('./rates.js').Rates} rates @param {Record<'upstream' | 'limits' | 'daemon', Verdict>} of @returns {Verdict} */
function headlineOf({ ready, jobs }, rates, { upstream, limits, daemon }) {
  const [why] = ready.reasons
  if (why !== undefined) return { state: 'watch', text: `Not ready: ${why}.` }
  for (const one of [upstream, daemon]) if (one.state === 'watch') return one
  if (jobs.consumed === 0) return { state: 'fine', text: 'Ready: no job has come yet.' }
  if (limits.text.includes('wait')) return { state: 'fine', text: `At full speed: ${lower(limits.text)}` }
  if (jobs.inFlight > 0 || (rates.ended ?? 0) > 0)
    return { state: 'fine', text: 'Running, and nothing waits: there is room for more jobs.' }
  return { state: 'fine', text: 'All caught up: there is nothing to do.' }
}

/** @param {ConsoleEvent} event @param {import('./rates.js').Rates} rates @param {number} nowMs @returns {Verdict} */
function upstreamOf({ platforms, levels, jobs, permits }, rates, nowMs) {
  const isLost = (/** @type {ConsoleEvent['platforms'][number]} */ { credentials }) =>
    credentials.length > 0 && credentials.every((one) => one.refused)
  const trouble = [pausedOf(platforms), refusedOf(platforms.filter(isLost)), unreachedOf(platforms)].filter(
    Boolean,
  )
  if (trouble.length > 0) return { state: 'bad', text: trouble.join(' ') }
  // Of several credentials the others do the work meanwhile.
  const refused = refusedOf(platforms)
  if (refused !== '') return { state: 'watch', text: refused }
  const failing = failingOf(jobs, rates)
  if (failing !== '') return { state: 'watch', text: failing }
  const blocked = levels.find((level) => isBlocked(level, nowMs))
  if (blocked !== undefined) {
    const { platform, name } = partsOf(blocked.level)
    const where = [platform, name].filter((text) => text !== '').join(' ')
    return { state: 'watch', text: `${where} asked us to wait until ${timeOf(blocked.blockedUntilMs)}.` }
  }
  const rejections = sum(platforms.map((one) => one.rejections))
  const recent = jobs.recentFailures.find(({ reason }) => reason === 'rate_limited')
  if (rejections > 0 && recent !== undefined && nowMs - Date.parse(recent.at) < 60_000)
    return { state: 'watch', text: `${recent.platform} says slow down, though we are inside our limits.` }
  const idle = platforms.filter(({ hasCredentials }) => !hasCredentials)
  if (idle.length > 0 && idle.length === platforms.length)
    return { state: 'watch', text: 'No platform has credentials: every job waits.' }
  const asked = sum(Object.values(permits).flatMap((of) => Object.values(of).map(({ granted }) => granted)))
  return {
    state: 'fine',
    text: asked === 0 ? 'Nothing has been asked of it yet.' : 'Every platform answers.',
  }
}

/** @param {ConsoleEvent} event @returns {Verdict} */
function limitsOf({ levels, permits, services }) {
  const away = services.find(({ service }) => service === 'redis')?.away
  if (away !== null && away !== undefined) return { state: 'bad', text: `${sentence(away)}.` }
  const waiting = sum(Object.keys(permits).map((platform) => queuedOf(permits, platform)))
  const holding = levels
    .filter((level) => isFull(level) || level.waiting > 0)
    .map((level) => ({ level, behind: waitingBehind(level, permits) }))
    .sort((a, b) => b.behind - a.behind)
  const [most] = holding
  if (waiting > 0 && most !== undefined) {
    const what = limitName(most.level.level)
    const until = most.level.kind === 'quota' ? `, until ${timeOf(most.level.resetsAtMs)}` : ''
    return {
      state: 'fine',
      text: `${some(waiting, 'call')} ${waiting === 1 ? 'waits' : 'wait'}, most of all for ${what}${until}.`,
    }
  }
  if (waiting > 0)
    return {
      state: 'fine',
      text: `${some(waiting, 'call')} ${waiting === 1 ? 'waits' : 'wait'} for a permit.`,
    }
  const tightest = Math.max(0, ...levels.map(usedOf))
  return { state: 'fine', text: `Room: the tightest is ${percent(tightest)} used.` }
}

/** @param {string} level */
function limitName(level) {
  const { kind, platform, name } = partsOf(level)
  if (kind === 'global') return 'the global limit'
  if (kind === 'quota') return `the quota of ${platform}`
  if (kind === 'credential') return `the credential ${name} of ${platform}`
  return [platform, name || kind].join(' ')
}

/** @param {ConsoleEvent} event @returns {Verdict} */
function sinksOf({ services, rows }) {
  const away = services.filter((one) => one.away !== null && one.service !== 'redis')
  if (away.length > 0)
    return {
      state: 'bad',
      text: `${sentence(away.map((one) => one.away).join(', and '))}. The intake is held.`,
    }
  return {
    state: 'fine',
    text:
      rows.buffered > 0
        ? `All take what they get; ${some(rows.buffered, 'row')} on the way.`
        : 'All take what they get.',
  }
}

/** @param {ConsoleEvent} event @returns {Verdict} */
function daemonOf({ loop, pool, uptimeS }) {
  if (loop.p99Ms > LOOP_MS_MAX)
    return { state: 'watch', text: `The event loop is late: ${Math.round(loop.p99Ms)} ms at p99.` }
  if (pool.utilisation > POOL_FULL && pool.queued > 0)
    return { state: 'watch', text: `Pictures wait for a core: ${count(pool.queued)} in the queue.` }
  return {
    state: 'fine',
    text: `Loop ${loop.p99Ms.toFixed(0)} ms, pool ${percent(pool.utilisation)}, up ${span(uptimeS)}.`,
  }
}

/** @param {string} text */
function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

/** @param {string} text */
function lower(text) {
  return text.charAt(0).toLowerCase() + text.slice(1)
}

/** @param {ConsoleEvent['platforms']} platforms */
function pausedOf(platforms) {
  const paused = platforms.filter((one) => one.pausedBecause !== null && one.hasCredentials)
  const [first] = paused
  if (first === undefined) return ''
  const more =
    paused.length > 1 ? ` So ${paused.length === 2 ? 'is' : 'are'} ${namesOf(paused.slice(1))}.` : ''
  return `${first.platform} is paused: ${first.pausedBecause}.${more}`
}

/** @param {ConsoleEvent['platforms']} platforms */
function refusedOf(platforms) {
  const refused = platforms.flatMap(({ platform, credentials }) => {
    return credentials
      .filter((one) => one.refused)
      .map(({ name }) => `${platform} refuses the credential ${name}.`)
  })
  return refused.length > 2 ? `${refused[0]} So are ${count(refused.length - 1)} more.` : refused.join(' ')
}

/** What most of the calls of these seconds fail of. @param {ConsoleEvent['jobs']} jobs @param {import('./rates.js').Rates} rates */
function failingOf({ reasons, recentFailures }, rates) {
  const [worst] = reasons
    .filter(({ kind }) => kind === 'transient')
    .map(({ reason }) => ({ reason, rate: rates[`failed:${reason}`] ?? 0 }))
    .sort((a, b) => b.rate - a.rate)
  if (worst === undefined || worst.rate === 0) return ''
  if (worst.rate < FAILING_SHARE * ((rates.ended ?? 0) + worst.rate)) return ''
  const sample = recentFailures.find(({ reason }) => reason === worst.reason)
  return `Calls${sample === undefined ? '' : ` of ${sample.platform}`} fail: ${worst.reason}, ${perSecond(worst.rate)}.`
}

/** @param {ConsoleEvent['platforms']} platforms */
function unreachedOf(platforms) {
  const open = platforms.filter(({ breakerOpen }) => breakerOpen)
  return open.length > 0 ? `No connection gets through to ${namesOf(open)}.` : ''
}

/** @param {ConsoleEvent['platforms']} platforms */
function namesOf(platforms) {
  const names = platforms.slice(0, 3).map(({ platform }) => platform)
  return [...names, ...(platforms.length > 3 ? [`${platforms.length - 3} more`] : [])].join(', ')
}
