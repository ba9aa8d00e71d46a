import { make, setProp, setText } from './dom.js'
import { downwards, sideways } from './routes.js'
import { perSecond } from './words.js'

/** @typedef {{ from: string, to: string, value: number | undefined, label?: boolean | undefined, kind?: string | undefined }} Arrow */
/** @typedef {import('./routes.js').Box} Box */
/** @typedef {{ bed: HTMLElement, drops: HTMLElement, label: HTMLElement, motion: Animation, value: number | undefined, shape: string }} Drawn */

/** Between two drops, px. */
const PITCH = 15

/**
 * Draws arrows between the places of the picture, in pixels of the page: drops of water on a bed that is as wide as the rate is
 * high. Only when the layout changes are the places measured.
 * @param {HTMLElement} root whose places have `data-place`
 */
export function arrowPainter(root) {
  const svg = make('svg:svg', { class: 'arrows', role: 'img' })
  const title = make('svg:title')
  const beds = make('svg:g')
  const labels = make('svg:g')
  svg.append(title, beds, labels)
  root.prepend(svg)
  /** @type {Map<string, Drawn>} */
  const drawn = new Map()
  /** @type {readonly Arrow[]} */
  let arrows = []
  let places = ''
  let isStale = true

  // Of the places too: one whose text breaks moves its neighbours, and the picture stays as large as it is.
  const observer = new ResizeObserver(() => {
    isStale = true
    layOut()
  })
  observer.observe(root)

  /** @param {Arrow} arrow @returns {Drawn} */
  function draw({ from, to, kind }) {
    const bed = make('svg:path', { class: 'bed', 'data-arrow': `${from}-${to}` })
    const drops = make('svg:path', { class: 'drops', 'stroke-dasharray': `0.1 ${PITCH - 0.1}` })
    const label = make('svg:text', { class: `rate ${kind ?? ''}`, 'data-arrow': `${from}-${to}` })
    beds.append(bed, drops)
    labels.append(label)
    const motion = drops.animate([{ strokeDashoffset: '0' }, { strokeDashoffset: String(-PITCH) }], {
      duration: 1_000,
      iterations: Number.POSITIVE_INFINITY,
    })
    motion.pause()
    return { bed, drops, label, motion, value: Number.NaN, shape: '' }
  }

  function layOut() {
    if (!isStale) return
    isStale = false
    const origin = root.getBoundingClientRect()
    setProp(svg, 'viewBox', `0 0 ${origin.width} ${origin.height}`)
    /** @type {Map<string, Box>} */
    const boxes = new Map()
    for (const node of /** @type {Iterable<HTMLElement>} */ (root.querySelectorAll('[data-place]'))) {
      observer.observe(node)
      const box = node.getBoundingClientRect()
      const left = box.left - origin.left
      const top = box.top - origin.top
      boxes.set(node.dataset.place ?? '', {
        ...{ left, top, right: left + box.width, bottom: top + box.height },
        ...{ x: left + box.width / 2, y: top + box.height / 2 },
      })
    }
    const isNarrow = (boxes.get('intake')?.top ?? 0) > (boxes.get('jobs')?.bottom ?? 0)
    for (const arrow of arrows) {
      const one = drawn.get(keyOf(arrow))
      const from = boxes.get(isNarrow && arrow.from.startsWith('lane:') ? 'lanes' : arrow.from)
      const to = boxes.get(isNarrow && arrow.to.startsWith('lane:') ? 'lanes' : arrow.to)
      if (one === undefined || from === undefined || to === undefined) continue
      const { path, at } = isNarrow ? downwards(arrow, from, to, origin.width) : sideways(arrow, from, to)
      setProp(one.bed, 'd', path)
      setProp(one.drops, 'd', path)
      setProp(one.label, 'x', Math.round(at[0] ?? 0))
      setProp(one.label, 'y', Math.round(at[1] ?? 0))
    }
  }

  return {
    /** @param {readonly Arrow[]} next @param {string} words the same for those who do not see it */
    show(next, words) {
      arrows = next
      setText(title, words)
      for (const [key, one] of drawn) {
        if (next.some((arrow) => keyOf(arrow) === key)) continue
        one.bed.remove()
        one.drops.remove()
        one.label.remove()
        drawn.delete(key)
      }
      for (const arrow of next) {
        const key = keyOf(arrow)
        const one = drawn.get(key) ?? draw(arrow)
        drawn.set(key, one)
        flow(one, arrow)
      }
      const now = next.map(keyOf).join()
      if (now !== places) isStale = true
      places = now
      layOut()
    },
    /** Nothing moves until it is shown again. */
    still() {
      for (const one of drawn.values()) {
        one.motion.pause()
        one.value = Number.NaN
      }
    },
  }
}

/** @param {Arrow} arrow */
function keyOf({ from, to }) {
  return `${from}>${to}`
}

/** @param {Drawn} one @param {Arrow} arrow */
function flow(one, { value, label, kind }) {
  const shape = `${kind ?? ''} ${value !== undefined && value > 0 ? 'on' : ''}`
  if (one.shape !== shape) {
    one.shape = shape
    setProp(one.bed, 'class', `bed ${shape}`)
    setProp(one.drops, 'class', `drops ${shape}`)
    setProp(one.label, 'class', `rate ${shape}`)
  }
  if (one.value === value) return
  one.value = value
  const size = Math.log10(1 + (value ?? 0))
  one.bed.style.strokeWidth = `${3 + 3 * size}px`
  one.drops.style.strokeWidth = `${3 + size}px`
  const follows = kind === 'commit' ? ' committed, once all of this is stored' : ''
  if (label === true) setText(one.label, `${perSecond(value)}${follows}`)
  if (size > 0 && !matchMedia('(prefers-reduced-motion: reduce)').matches) {
    one.motion.updatePlaybackRate(0.6 + 1.6 * size)
    if (one.motion.playState !== 'running') one.motion.play()
  } else one.motion.pause()
}
