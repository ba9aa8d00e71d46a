/** @typedef {import('../../job/permit.ts').LevelState} LevelState */
/** @typedef {import('../status.ts').ConsoleEvent} ConsoleEvent */

/**
 * A level's name taken apart: `endpoint:tiktok/user_info` is of the kind endpoint, of tiktok, and called user_info.
 * @param {string} level
 */
export function partsOf(level) {
  const colon = level.indexOf(':')
  const kind = colon < 0 ? level : level.slice(0, colon)
  const target = colon < 0 ? '' : level.slice(colon + 1)
  const slash = target.indexOf('/')
  return {
    kind,
    platform: slash < 0 ? target : target.slice(0, slash),
    name: slash < 0 ? '' : target.slice(slash + 1),
  }
}

/** Share of what the level holds that is used up, 0 to 1. @param {LevelState} level */
export function usedOf({ capacity, remaining }) {
  return capacity > 0 ? Math.min(1, Math.max(0, 1 - remaining / capacity)) : 0
}

/** @param {LevelState} level @param {number} nowMs */
export function isBlocked({ blockedUntilMs }, nowMs) {
  return blockedUntilMs > nowMs
}

/** Used up, so that somebody who comes now has to wait: for the next permit, or until a quota begins anew. @param {LevelState} level */
export function isFull({ remaining }) {
  return remaining < 1
}

/** Calls of this daemon that wait, by platform. @param {ConsoleEvent['permits']} permits @param {string} platform */
export function queuedOf(permits, platform) {
  return Object.values(permits[platform] ?? {}).reduce((sum, { queued }) => sum + queued, 0)
}

/**
 * What waits behind a level: what the limiter says that it holds back, in all daemons; and for an endpoint at least those that wait
 * for it here.
 * @param {LevelState} level @param {ConsoleEvent['permits']} permits
 */
export function waitingBehind({ level, waiting }, permits) {
  const { kind, platform, name } = partsOf(level)
  if (kind !== 'endpoint') return waiting
  return Math.max(waiting, permits[platform]?.[name]?.queued ?? 0)
}
