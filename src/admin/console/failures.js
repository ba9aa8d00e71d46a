import { keyed, make, setProp, setText, within } from './dom.js'
import { count, percent, short, some, span } from './words.js'

/** @typedef {import('../status.ts').ConsoleEvent} ConsoleEvent */
/** @typedef {import('../status.ts').ReasonCount} ReasonCount */

/** Whose it is to act on a reason, in three words. */
const KINDS = {
  content: 'the job’s',
  transient: 'the platform’s, passing',
  throttle: 'the platform’s patience',
  environment: 'ours',
}

/** Failures by reason, with what to do and the newest of each. @param {HTMLElement} root @param {HTMLElement} banner @param {(reason: string, dead: number) => void} onReplay */
export function failuresView(root, banner, onReplay) {
  /** @type {Record<string, { what: string, act: string }>} */
  let texts = {}

  /** @param {ReasonCount} one */
  function create({ reason }) {
    const summary = make(
      'summary',
      {},
      make('code', {}, reason),
      make('span', { class: 'kind' }),
      make('span', { class: 'counts' }),
    )
    summary.append(make('span', { class: 'shares', 'aria-hidden': 'true' }, make('i'), make('i')))
    const button = make('button', { type: 'button', class: 'quiet act' }, 'Send back')
    button.addEventListener('click', () => onReplay(reason, Number(button.dataset.dead)))
    return make(
      'details',
      { 'data-reason': reason },
      summary,
      make('p', { class: 'what' }),
      make('p', { class: 'todo' }),
      make('ul', { class: 'samples' }),
      button,
    )
  }

  /** @param {ConsoleEvent} event @param {number} nowMs */
  function show({ jobs, canChange, replay }, nowMs) {
    const most = Math.max(1, ...jobs.reasons.map(({ dead, retried }) => dead + retried))
    keyed(root, jobs.reasons, {
      key: ({ reason }) => reason,
      create,
      update: (node, one) => {
        const { reason, kind, dead, retried } = one
        setText(within(node, '.kind'), KINDS[kind])
        setProp(node, 'data-kind', kind)
        const counts = [
          dead > 0 ? `${short(dead)} dead` : '',
          retried > 0 ? `${short(retried)} tried again` : '',
        ]
        const samples = jobs.recentFailures.filter((sample) => sample.reason === reason)
        const newest = samples[0] === undefined ? '' : ` · ${agoOf(samples[0].at, nowMs)}`
        setText(within(node, '.counts'), `${counts.filter(Boolean).join(', ')}${newest}`)
        const shares = within(node, '.shares')
        shares.style.setProperty('--dead', percent(dead / most))
        shares.style.setProperty('--retried', percent(retried / most))
        setText(within(node, '.what'), texts[reason]?.what ?? '')
        setText(within(node, '.todo'), texts[reason]?.act ?? '')
        const button = within(node, '.act')
        button.hidden = !canChange || dead === 0
        button.dataset.dead = String(dead)
        setProp(button, 'aria-label', `Send the dead letters of ${reason} back`)
        showSamples(within(node, '.samples'), samples, nowMs)
      },
    })
    if (root.children.length === 0)
      root.append(make('p', { class: 'none', 'data-key': 'none' }, 'None so far.'))
    banner.hidden = replay === null
    if (replay !== null) {
      setText(banner, replayWords(replay))
      setProp(
        banner,
        'data-tone',
        replay.state === 'failed' ? 'bad' : replay.state === 'done' ? 'fine' : 'busy',
      )
    }
  }
  return {
    show,
    /** @param {typeof texts} known */
    learn(known) {
      texts = known
    },
  }
}

/** @param {HTMLElement} list @param {ConsoleEvent['jobs']['recentFailures']} samples @param {number} nowMs */
function showSamples(list, samples, nowMs) {
  keyed(list, samples, {
    key: ({ at, jobId, message }) => `${at} ${jobId} ${message}`,
    create: (one) => {
      const who = [one.platform, one.creatorId].filter((text) => text !== '').join(' ')
      return make(
        'li',
        {},
        make('span', { class: 'who' }, who),
        make('time', { datetime: one.at }),
        make('span', { class: 'message' }, one.message || 'no message'),
        make('span', { class: 'id' }, one.jobId),
      )
    },
    update: (node, { at, outcome }) => {
      const ago = `${agoOf(at, nowMs)}, ${outcome === 'dead' ? 'given up' : 'tried again'}`
      setText(within(node, 'time'), ago)
    },
  })
}

/** @param {string} at RFC 3339 @param {number} nowMs */
function agoOf(at, nowMs) {
  return `${span((nowMs - Date.parse(at)) / 1000)} ago`
}

/** @param {NonNullable<ConsoleEvent['replay']>} replay */
function replayWords({ reason, state, planned, sent, leftOut, problem }) {
  const rest = leftOut > 0 ? `, ${count(leftOut)} left out` : ''
  switch (state) {
    case 'reading':
      return `Reading the dead letters of ${reason}…`
    case 'sending':
      return `Sending back ${reason}: ${count(sent)} of ${count(planned ?? 0)}…`
    case 'done':
      return `Sent back ${some(sent, 'dead letter')} of ${reason}${rest}.`
    case 'failed':
      return `Sending back ${reason} failed after ${count(sent)}: ${problem}`
  }
}
