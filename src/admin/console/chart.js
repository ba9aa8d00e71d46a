import { make, setProp, setText, within } from './dom.js'
import { bytes, count, figure, percent, span, timeWithSeconds } from './words.js'

/** @typedef {import('../history.ts').HistoryPoint} HistoryPoint */
/** @typedef {import('../history.ts').HistoryReport} HistoryReport */
/** @typedef {{ name: string, label: string, kind?: 'line' | 'area', tone: string }} Series */
/** @typedef {{ id: string, title: string, height: number, floor: number, series: Series[], stacked: boolean, text: (value: number) => string }} Band */

/** One above the other on one time axis: what was done, and the three figures that tell why it was not more. @type {Band[]} */
const BANDS = [
  {
    id: 'jobs',
    title: 'jobs ended a second',
    height: 128,
    floor: 1,
    stacked: true,
    series: [
      { name: 'done', label: 'done', tone: 'water' },
      { name: 'skipped', label: 'skipped', tone: 'mute' },
      { name: 'dead', label: 'dead', tone: 'bad' },
    ],
    text: (value) => `${figure(value)}/s`,
  },
  {
    id: 'waiting',
    title: 'calls waiting for a permit',
    height: 40,
    floor: 10,
    stacked: false,
    series: [{ name: 'waiting', label: 'waiting', tone: 'warn' }],
    text: count,
  },
  {
    id: 'lag',
    title: 'records behind',
    height: 40,
    floor: 10,
    stacked: false,
    series: [{ name: 'lag', label: 'behind', tone: 'warn' }],
    text: count,
  },
  {
    id: 'pool',
    title: 'picture cores, busy',
    height: 40,
    floor: 1,
    stacked: false,
    series: [{ name: 'pool', label: 'pool', tone: 'water' }],
    text: percent,
  },
  {
    id: 'loop',
    title: 'event loop late, p99',
    height: 40,
    floor: 20,
    stacked: false,
    series: [{ name: 'loopMs', label: 'loop', tone: 'mute' }],
    text: (value) => `${figure(value)} ms`,
  },
]

/** The last quarter of an hour. Keyboard: arrows move the place that is read out, Escape lets it go. @param {HTMLElement} root @param {HTMLElement} readout */
export function chartView(root, readout) {
  /** @type {HistoryPoint[]} */
  let points = []
  let stepMs = 5_000
  let pointsMax = 180
  /** @type {number | null} Unix ms of the place that is read out; null for now. */
  let chosen = null
  const bands = BANDS.map((band) => {
    const svg = make('svg:svg', { preserveAspectRatio: 'none', 'aria-hidden': 'true' })
    svg.style.height = `${band.height}px`
    const paths = band.series.map(({ tone }) => make('svg:path', { class: `series ${tone}` }))
    svg.append(...paths, make('svg:path', { class: 'cross' }))
    const head = make('p', {}, make('span', {}, band.title), make('b'), make('span', { class: 'top' }))
    const node = make('div', { class: `band ${band.id}` }, head, svg)
    root.append(node)
    return { band, node, svg, paths }
  })
  const axis = make('p', { class: 'axis', 'aria-hidden': 'true' })
  axis.append(make('span'), make('span'), make('span', {}, 'now'))
  root.append(axis)

  function draw() {
    const width = Math.max(1, root.clientWidth)
    const lastMs = points.at(-1)?.at ?? Date.now()
    const spanMs = spanOf()
    const fromMs = lastMs - spanMs
    const xOf = (/** @type {number} */ at) => ((at - fromMs) / (lastMs - fromMs)) * width
    const place = chosen === null ? points.at(-1) : nearest(chosen)
    const [begin, middle] = axis.children
    if (begin !== undefined) setText(begin, `${span(spanMs / 1000)} ago`)
    if (middle !== undefined) setText(middle, span(spanMs / 2000))
    for (const { band, node, svg, paths } of bands) {
      const { height, series, stacked, floor, text } = band
      setProp(svg, 'viewBox', `0 0 ${width} ${height}`)
      const totals = points.map(({ values }) =>
        series.reduce((sum, { name }) => sum + (values[name] ?? 0), 0),
      )
      const top = Math.max(floor, ...totals)
      const yOf = (/** @type {number} */ value) => height - 1 - (value / top) * (height - 4)
      let below = points.map(() => 0)
      for (const [index, { name }] of series.entries()) {
        const above = points.map(({ values }, i) => (stacked ? (below[i] ?? 0) : 0) + (values[name] ?? 0))
        const line = above.map((value, i) => `${xOf(points[i]?.at ?? 0).toFixed(1)} ${yOf(value).toFixed(1)}`)
        const back = below
          .map((value, i) => `${xOf(points[i]?.at ?? 0).toFixed(1)} ${yOf(value).toFixed(1)}`)
          .reverse()
        const path = paths[index]
        if (path !== undefined)
          setProp(path, 'd', line.length < 2 ? '' : `M${line.join('L')}L${back.join('L')}Z`)
        below = above
      }
      const shown = series.filter(({ name }) => series.length === 1 || (place?.values[name] ?? 0) > 0)
      const words = shown.map(
        ({ name, label }) => `${text(place?.values[name] ?? 0)}${series.length > 1 ? ` ${label}` : ''}`,
      )
      setText(within(node, 'b'), place === undefined ? '–' : words.join(', ') || text(0))
      setText(within(node, '.top'), `most ${text(Math.max(0, ...totals))}`)
      setProp(
        within(svg, '.cross'),
        'd',
        chosen === null || place === undefined ? '' : `M${xOf(place.at)} 0V${height}`,
      )
    }
    const first = points[0]
    const said = chosen === null || place === undefined ? '' : timeWithSeconds(place.at)
    const begun = first !== undefined && points.length < pointsMax ? `since ${timeWithSeconds(first.at)}` : ''
    setText(
      readout,
      said === ''
        ? begun
        : `at ${said}${place === undefined ? '' : `, ${bytes(place.values.rssBytes ?? 0)} of memory`}`,
    )
    setProp(
      root,
      'aria-valuetext',
      `${said === '' ? 'now' : said}: ${figure(place?.values.done ?? 0)} jobs done a second, ${count(place?.values.waiting ?? 0)} calls waiting`,
    )
    const share =
      place === undefined || lastMs === fromMs ? 100 : ((place.at - fromMs) / (lastMs - fromMs)) * 100
    setProp(root, 'aria-valuenow', Math.round(share))
  }

  /** Of a daemon that has just been started not all of the time is shown, which would be mostly empty. */
  function spanOf() {
    return stepMs * (Math.min(pointsMax, Math.max(points.length, pointsMax / 5)) - 1)
  }

  /** @param {number} at */
  function nearest(at) {
    return points.reduce(
      (/** @type {HistoryPoint | undefined} */ best, point) =>
        best === undefined || Math.abs(point.at - at) < Math.abs(best.at - at) ? point : best,
      undefined,
    )
  }

  root.addEventListener('pointermove', ({ clientX }) => {
    const { left, width } = root.getBoundingClientRect()
    const lastMs = points.at(-1)?.at ?? Date.now()
    chosen = lastMs - (1 - (clientX - left) / width) * spanOf()
    draw()
  })
  const letGo = () => {
    chosen = null
    draw()
  }
  root.addEventListener('pointerleave', letGo)
  root.addEventListener('blur', letGo)
  root.addEventListener('keydown', (event) => {
    const steps = /** @type {Record<string, number>} */ ({
      ArrowLeft: -1,
      ArrowRight: 1,
      PageUp: -12,
      PageDown: 12,
      Home: -1e6,
      End: 1e6,
    })[event.key]
    if (event.key === 'Escape') return letGo()
    if (steps === undefined || points.length === 0) return
    event.preventDefault()
    const index =
      chosen === null ? points.length - 1 : points.indexOf(/** @type {HistoryPoint} */ (nearest(chosen)))
    const next = points[Math.min(points.length - 1, Math.max(0, index + steps))]
    chosen = next?.at ?? null
    draw()
  })
  new ResizeObserver(draw).observe(root)

  return {
    /** @param {HistoryReport} report */
    load(report) {
      stepMs = report.stepMs
      pointsMax = report.points
      points = report.rows.map(([at = 0, ...values]) => {
        return { at, values: Object.fromEntries(report.names.map((name, i) => [name, values[i] ?? 0])) }
      })
      draw()
    },
    /** @param {HistoryPoint | null} point */
    add(point) {
      if (point === null || point.at <= (points.at(-1)?.at ?? 0)) return
      points.push(point)
      if (points.length > pointsMax) points.shift()
      draw()
    },
    /** Leaves a band out that never says anything. @param {string} id @param {boolean} isShown */
    toggle(id, isShown) {
      for (const { band, node } of bands) if (band.id === id) node.hidden = !isShown
    },
  }
}
