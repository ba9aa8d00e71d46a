/** @typedef {import('./arrows.js').Arrow} Arrow */
/** @typedef {{ left: number, right: number, top: number, bottom: number, x: number, y: number }} Box */
/** @typedef {{ path: string, at: [x: number, y: number] }} Route where an arrow runs, and where its rate stands */

/** Between an arrow and its boxes, and of its corners, px. */
const GAP = 5
const TURN = 14
/** How far from a box's middle its arrows down leave it. */
const ASIDE = 22
/** Where what is told back runs: above everything. */
const ABOVE = 12

/** From left to right; what goes back runs below, and above. @param {Arrow} arrow @param {Box} from @param {Box} to @returns {Route} */
export function sideways({ kind, from: name }, from, to) {
  if (kind === 'commit') {
    const down = `H${to.x + TURN}Q${to.x} ${ABOVE} ${to.x} ${ABOVE + TURN}V${to.top - GAP}`
    const path = `M${from.x} ${from.top - GAP}V${ABOVE + TURN}Q${from.x} ${ABOVE} ${from.x - TURN} ${ABOVE}${down}`
    return { path, at: [(from.x + to.x) / 2, ABOVE] }
  }
  if (name === 'retry') {
    const path = `M${from.left - GAP} ${from.y}H${to.x + TURN}Q${to.x} ${from.y} ${to.x} ${from.y - TURN}V${to.bottom + GAP}`
    return { path, at: [to.x, from.y] }
  }
  if (kind === 'back' || kind === 'bad') {
    const side = kind === 'back' ? -1 : 1
    const x = from.x + side * ASIDE
    const end = kind === 'back' ? to.right + GAP : to.left - GAP
    const path = `M${x} ${from.bottom + GAP}V${to.y - TURN}Q${x} ${to.y} ${x + side * TURN} ${to.y}H${end}`
    return { path, at: [kind === 'back' ? (x + end) / 2 : end - 26, to.y - 13] }
  }
  const [x1, y1, x2, y2] = [from.right + GAP, from.y, to.left - GAP, to.y]
  const middle = (x1 + x2) / 2
  const path = `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`
  // Where several begin at one box, the rates stand where they end.
  return { path, at: name === 'adapter' ? [x2 - 24, y2 - 14] : [middle, (y1 + y2) / 2 - 13] }
}

/** From top to bottom; what goes back runs along the right edge. @param {Arrow} arrow @param {Box} from @param {Box} to @param {number} width @returns {Route} */
export function downwards({ kind, from: name, to: target }, from, to, width) {
  if (kind === 'commit') return { path: '', at: [-999, 0] }
  if (name === 'retry') return { path: `M${from.left - GAP} ${from.y}H${to.right + GAP}`, at: [0, 0] }
  if (kind === 'back') {
    const edge = width - 8
    const under = to.bottom + TURN
    const path =
      `M${from.right + GAP} ${from.y}H${edge - TURN}Q${edge} ${from.y} ${edge} ${from.y - TURN}` +
      `V${under + TURN}Q${edge} ${under} ${edge - TURN} ${under}H${to.x + TURN}Q${to.x} ${under} ${to.x} ${to.bottom + GAP}`
    return { path, at: [(from.right + edge) / 2, from.y - 13] }
  }
  if (kind === 'bad') {
    const x = from.x + ASIDE
    const path = `M${x} ${from.bottom + GAP}V${to.y - TURN}Q${x} ${to.y} ${x + TURN} ${to.y}H${to.left - GAP}`
    return { path, at: [x + 34, to.y - 13] }
  }
  const isStraight = name.startsWith('lane:') || target.startsWith('lane:')
  const x = Math.min(from.x, to.x)
  const [x1, x2] = isStraight ? [x, x] : [from.x, to.x]
  const [y1, y2] = [from.bottom + GAP, to.top - GAP]
  const middle = (y1 + y2) / 2
  const path = `M${x1} ${y1}C${x1} ${middle} ${x2} ${middle} ${x2} ${y2}`
  return { path, at: name === 'adapter' ? [x2 + 26, y2 - 8] : [x1 + 26, middle] }
}
