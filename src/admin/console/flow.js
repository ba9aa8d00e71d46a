import { arrowPainter } from './arrows.js'
import { keyed, make, setProp, setText, within } from './dom.js'
import { gate, laneView } from './lane.js'
import { count, perSecond, short, sum } from './words.js'

/** @typedef {import('../status.ts').ConsoleEvent} ConsoleEvent */

/** Places of the picture, in the order of reading. */
const PLACES = {
  jobs: 'Jobs',
  intake: 'Intake',
  lanes: 'Lanes and permits',
  fetch: 'Fetch',
  adapter: 'Adapter',
  pictures: 'Pictures',
  rows: 'Rows',
  results: 'Results',
  retry: 'Retries',
  dead: 'Dead letters',
}

/** Each arrow: from, to, which rate it shows, and how it looks. Those of the lanes are added for each lane. */
const ARROWS = [
  { from: 'jobs', to: 'intake', rate: 'consumed', label: true },
  { from: 'fetch', to: 'adapter', rate: 'granted', label: true },
  { from: 'adapter', to: 'pictures', rate: 'pictures', label: true },
  { from: 'adapter', to: 'rows', rate: 'rows', label: true },
  { from: 'adapter', to: 'results', rate: 'ended', label: true },
  { from: 'adapter', to: 'dead', rate: 'dead', label: true, kind: 'bad' },
  { from: 'adapter', to: 'retry', rate: 'retried', label: true, kind: 'back' },
  { from: 'pictures', to: 'jobs', rate: 'committed', label: true, kind: 'commit' },
  { from: 'retry', to: 'jobs', rate: 'retried', label: false, kind: 'back' },
]

const LANES_MAX = 6

/** The picture of the flow: boxes that the browser lays out, and arrows that are drawn between wherever they come to stand. */
export function flowView(/** @type {HTMLElement} */ root) {
  const boxes = Object.entries(PLACES).map(([id, name]) => {
    const box = make('div', { class: `place ${id}`, 'data-place': id }, make('b', {}, name))
    box.append(id === 'lanes' ? make('ol', { class: 'lanes' }) : make('span', { class: 'says' }))
    return box
  })
  root.append(...boxes)
  const arrows = arrowPainter(root)
  const says = (/** @type {string} */ id, /** @type {string} */ text, /** @type {string} */ tone = '') => {
    const box = within(root, `.place.${id}`)
    setText(within(box, '.says'), text)
    setProp(box, 'data-tone', tone === '' ? undefined : tone)
  }

  /** @param {ConsoleEvent} event @param {import('./rates.js').Rates} rates @param {number} nowMs */
  function show(event, rates, nowMs) {
    const { jobs, services, partitions, pictures, pool, rows, platforms } = event
    const away = new Set(services.filter((one) => one.away !== null).map(({ service }) => service))
    const lag = sum(partitions.map((one) => one.lag ?? 0))
    const { done, skipped, dead } = jobs.finished
    const fetching = sum(platforms.map((one) => one.fetching))
    const held = event.ready.reasons.length > 0
    says('jobs', event.mode.source === 'kafka' ? `${short(lag)} behind` : 'from a file')
    says(
      'intake',
      held && away.size > 0 ? 'held' : `${count(jobs.inFlight)} in hand`,
      held && away.size > 0 ? 'bad' : '',
    )
    says('fetch', `${count(fetching)} on the way`, platforms.some((one) => one.breakerOpen) ? 'bad' : '')
    says('adapter', `${short(done + skipped + dead)} ended`)
    const pictureText = pool.queued > 0 ? `${count(pool.queued)} queued` : `${short(pictures.stored)} stored`
    says(
      'pictures',
      away.has('store') ? 'store away' : pictureText,
      away.has('store') ? 'bad' : pool.queued > 0 ? 'busy' : '',
    )
    const written = `${short(sum(Object.values(rows.written)))} written`
    const rowText = rows.buffered > 0 ? `${count(rows.buffered)} wait` : written
    says(
      'rows',
      away.has('clickhouse') ? `away, ${count(rows.buffered)} wait` : rowText,
      away.has('clickhouse') ? 'bad' : '',
    )
    says(
      'results',
      away.has('kafka') ? 'Kafka away' : `${short(done + skipped + dead)} sent`,
      away.has('kafka') ? 'bad' : '',
    )
    says('retry', `${short(jobs.retried)} so far`)
    says('dead', `${short(dead)} so far`, (rates.dead ?? 0) > 0 ? 'watch' : '')

    const lanes = lanesOf(event, rates, nowMs)
    keyed(within(root, 'ol.lanes'), lanes, {
      key: (one) => one.id,
      create: laneView.create,
      update: laneView.update,
    })
    arrows.show(
      [
        ...ARROWS.map((arrow) => ({ ...arrow, value: rates[arrow.rate] })),
        ...lanes.flatMap(({ id, rate, shut }) => [
          { from: 'intake', to: `lane:${id}`, value: rate, label: false, kind: shut ? 'shut' : undefined },
          { from: `lane:${id}`, to: 'fetch', value: rate, label: false, kind: shut ? 'shut' : undefined },
        ]),
      ],
      `Jobs flow from intake through lanes, permits, fetch and adapter to pictures, rows and results: ${perSecond(rates.consumed)} taken in, ` +
        `${perSecond(rates.granted)} permits, ${perSecond(rates.ended)} results, ${perSecond(rates.dead)} dead letters.`,
    )
  }

  return { show, still: arrows.still }
}

/** A lane for each platform, those with most to do first; what is beyond the picture's room is one lane. @param {ConsoleEvent} event @param {import('./rates.js').Rates} rates @param {number} nowMs */
function lanesOf(event, rates, nowMs) {
  const all = event.platforms.map((one) =>
    gate(one, event, rates[`granted:${one.platform}`] ?? (rates.granted && 0), nowMs),
  )
  if (all.length <= LANES_MAX) return all
  const ordered = [...all].sort(
    (a, b) => b.waiting - a.waiting || (b.rate ?? 0) - (a.rate ?? 0) || (a.id < b.id ? -1 : 1),
  )
  const rest = ordered.slice(LANES_MAX - 1)
  return [
    ...ordered.slice(0, LANES_MAX - 1),
    {
      id: 'others',
      name: `${rest.length} others`,
      waiting: sum(rest.map((one) => one.waiting)),
      rate: sum(rest.map((one) => one.rate ?? 0)),
      used: Math.max(...rest.map((one) => one.used)),
      shut: rest.every((one) => one.shut),
      why: '',
      title: rest.map((one) => one.name).join(', '),
    },
  ]
}
