import { keyed, make, setProp, setText, within } from './dom.js'
import { isBlocked, partsOf, usedOf, waitingBehind } from './levels.js'
import { count, percent, some, span, timeOf } from './words.js'

/** @typedef {import('../status.ts').ConsoleEvent} ConsoleEvent */
/** @typedef {import('../../job/permit.ts').LevelState} LevelState */
/** @typedef {{ id: string, platform: ConsoleEvent['platforms'][number] | undefined, levels: LevelState[] }} Group */

/** Of one platform; those with nothing to say beyond that are folded away. */
const BARS_MAX = 8

/** The limits as bars, a group for each platform with what stands in its way and the button that pauses it. @param {HTMLElement} root @param {(action: 'pause' | 'resume', platform: string) => void} onAct */
export function limitsView(root, onAct) {
  const text = 'The limiter does not answer: nothing is known of the limits.'
  const unknown = make('p', { class: 'none', hidden: true }, text)
  root.before(unknown)
  /** @type {Set<string>} */
  const unfolded = new Set()
  /** @type {() => void} */
  let again = () => {}

  /** @param {ConsoleEvent} event @param {number} nowMs */
  function show(event, nowMs) {
    again = () => show(event, nowMs)
    keyed(root, groupsOf(event), {
      key: ({ id }) => id,
      create: ({ id }) => createGroup(id),
      update: (node, group) => updateGroup(node, group, event, nowMs),
    })
    unknown.hidden = event.levels.length > 0
  }

  /** @param {string} id */
  function createGroup(id) {
    const button = make('button', { type: 'button', class: 'quiet act' })
    button.addEventListener('click', () => onAct(button.dataset.action === 'resume' ? 'resume' : 'pause', id))
    const more = make('button', { type: 'button', class: 'quiet more' })
    more.addEventListener('click', () => {
      if (!unfolded.delete(id)) unfolded.add(id)
      again()
    })
    const head = make(
      'div',
      { class: 'head' },
      make('h3', {}, id === '' ? 'all platforms' : id),
      make('span', { class: 'why' }),
      button,
    )
    return make(
      'div',
      { class: 'group', id: id === '' ? undefined : `limits-${id}`, tabindex: id === '' ? undefined : -1 },
      head,
      make('ul', { class: 'credentials' }),
      make('ul', { class: 'bars' }),
      more,
    )
  }

  /** @param {HTMLElement} node @param {Group} group @param {ConsoleEvent} event @param {number} nowMs */
  function updateGroup(node, { id, platform, levels }, event, nowMs) {
    const why = within(node, '.why')
    const button = within(node, '.act')
    const paused = platform?.pausedBecause ?? null
    const parked = event.parking.find((one) => one.platform === id)?.parked ?? 0
    setText(why, wordsOf(platform, parked))
    setProp(why, 'data-tone', paused !== null || platform?.breakerOpen ? 'bad' : undefined)
    const canAct = platform?.hasCredentials === true && event.canChange
    button.hidden = !canAct
    button.dataset.action = paused === null ? 'pause' : 'resume'
    setText(button, paused === null ? 'Pause' : 'Resume')
    setProp(button, 'aria-label', `${paused === null ? 'Pause' : 'Resume'} ${id}`)
    button.classList.toggle('strong', paused !== null)

    const told = (platform?.credentials ?? []).filter((one) => one.refused || one.aside)
    keyed(within(node, '.credentials'), told, {
      key: ({ name }) => name,
      create: () => make('li', { 'data-tone': 'bad' }, make('b'), make('span')),
      update: (line, one) => {
        setText(within(line, 'b'), `credential ${one.name}`)
        const follows = one.aside
          ? `set aside, tried again in ${span(one.againInS)}`
          : 'there is no other to go on with'
        setText(within(line, 'span'), `refused by ${id}: ${follows}`)
      },
    })

    const ordered = [...levels].sort(
      (a, b) =>
        rankOf(a) - rankOf(b) ||
        pressureOf(b, event, nowMs) - pressureOf(a, event, nowMs) ||
        (a.level < b.level ? -1 : 1),
    )
    const all = unfolded.has(id)
    const shown = all ? ordered : ordered.slice(0, BARS_MAX)
    keyed(within(node, '.bars'), shown, {
      key: ({ level }) => level,
      create: createBar,
      update: (bar, level) => updateBar(bar, level, event, nowMs),
    })
    const more = within(node, '.more')
    more.hidden = ordered.length <= BARS_MAX
    setText(more, all ? 'Show fewer' : `Show ${some(ordered.length - shown.length, 'more limit')}`)
    setProp(more, 'aria-expanded', String(all))
  }

  return show
}

/** @param {ConsoleEvent} event @returns {Group[]} */
function groupsOf({ levels, platforms }) {
  const names = [
    ...new Set([
      ...platforms.map(({ platform }) => platform),
      ...levels.map(({ level }) => partsOf(level).platform),
    ]),
  ]
  return names.sort().map((id) => ({
    id,
    platform: platforms.find(({ platform }) => platform === id),
    levels: levels.filter(({ level }) => partsOf(level).platform === id),
  }))
}

/** @param {ConsoleEvent['platforms'][number] | undefined} platform @param {number} parked */
function wordsOf(platform, parked) {
  if (platform === undefined) return ''
  const { pausedBecause, breakerOpen, fetching } = platform
  const aside = parked > 0 ? ` · ${some(parked, 'job')} parked` : ''
  if (pausedBecause !== null) return `paused: ${pausedBecause}${aside}`
  if (breakerOpen) return `no connection gets through: it is probed now and then${aside}`
  return `${some(fetching, 'call')} on the way${aside}`
}

/** Shared limits first, then what each endpoint and credential has of its own. @param {LevelState} level */
function rankOf({ level }) {
  return ['global', 'platform', 'quota', 'credential', 'endpoint'].indexOf(partsOf(level).kind)
}

/** @param {LevelState} level @param {ConsoleEvent} event @param {number} nowMs */
function pressureOf(level, { permits }, nowMs) {
  return (isBlocked(level, nowMs) ? 1e9 : 0) + waitingBehind(level, permits) * 10 + usedOf(level)
}

/** @param {LevelState} level */
function createBar({ level }) {
  const track = make(
    'span',
    { class: 'track', role: 'meter', 'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-label': level },
    make('i'),
    make('em'),
  )
  return make(
    'li',
    { class: 'bar' },
    make('b'),
    track,
    make('span', { class: 'facts' }),
    make('span', { class: 'behind' }),
  )
}

/** @param {HTMLElement} bar @param {LevelState} level @param {ConsoleEvent} event @param {number} nowMs */
function updateBar(bar, level, { permits }, nowMs) {
  const { kind, name } = partsOf(level.level)
  const used = usedOf(level)
  const blocked = isBlocked(level, nowMs)
  const waiting = waitingBehind(level, permits)
  const track = within(bar, '.track')
  setText(
    within(bar, 'b'),
    name === ''
      ? ({ global: 'global', platform: 'platform', quota: 'quota' }[kind] ?? kind)
      : kind === 'endpoint'
        ? name
        : `${kind} ${name}`,
  )
  const taken = `${count(Math.min(level.capacity, level.capacity - level.remaining))} of ${count(level.capacity)}`
  const resets = level.resetsAtMs > nowMs ? `, anew ${timeOf(level.resetsAtMs)}` : ''
  const lowered = level.factor < 1 ? `, lowered to ${percent(level.factor)}` : ''
  setText(within(bar, '.facts'), `${taken}${resets}${lowered}`)
  const behind = [
    blocked ? `blocked until ${timeOf(level.blockedUntilMs)}` : '',
    waiting > 0 ? `${count(waiting)} waiting` : '',
  ]
  setText(within(bar, '.behind'), behind.filter(Boolean).join(' · '))
  track.style.setProperty('--used', percent(blocked ? 1 : used))
  track.style.setProperty('--factor', percent(level.factor))
  track.classList.toggle('lowered', level.factor < 1)
  setProp(bar, 'data-tone', blocked ? 'bad' : used >= 0.9 ? 'busy' : undefined)
  setProp(track, 'aria-valuenow', Math.round(used * 100))
  setProp(
    track,
    'aria-valuetext',
    `${taken}${resets}${lowered}${behind.some(Boolean) ? `, ${behind.filter(Boolean).join(', ')}` : ''}`,
  )
  setProp(
    bar,
    'title',
    `${level.kind}: ${level.rate.toFixed(2)} units a second, ${count(level.grantedLastMinute)} granted in the last minute`,
  )
}
