/** @typedef {import('./arrows.js').Arrow} Arrow */
/** @typedef {{ left: number, right: number, top: number, bottom: number, x: number, y: number }} Box */
/** @typedef {{ path: string, at: [x: number, y: number] }} Route where an arrow runs, and where its rate stands */

/** Between an arrow and its boxes, and of its corners, px. */
const GAP = 5
const TURN = 14
/** How far from a box's middle its arrows down leave it. */
const ASIDE = 22
/** How far from its box a trunk stands that has branches. */
const TRUNK = 20
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
  if (name === 'adapter') {
    // Several that end one above the other: a trunk and its branches, each with its rate.
    const branch = Math.abs(y2 - y1) < 2 * TURN ? `H${x2}` : `${bend(x1 + TRUNK, y1, y2)}H${x2}`
    return { path: `M${x1} ${y1}${branch}`, at: [(x1 + TRUNK + TURN + x2) / 2, y2 - 13] }
  }
  const path = `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`
  return { path, at: [middle, (y1 + y2) / 2 - 13] }
}

/** Along `y1` to `x`, from there up or down to `y2`, and on to the right. @param {number} x @param {number} y1 @param {number} y2 */
function bend(x, y1, y2) {
  const turn = Math.sign(y2 - y1) * TURN
  return `H${x - TURN}Q${x} ${y1} ${x} ${y1 + turn}V${y2 - turn}Q${x} ${y2} ${x + TURN} ${y2}`
}

/** From top to bottom; what goes back runs along the right edge. @param {Arrow} arrow @param {Box} from @param {Box} to @param {number} width @returns {Route} */
export function downwards({ kind, from: name, to: target }, from, to, width) {
  if (kind === 'commit') return { path: '', at: [-999, 0] }
  if (name === 'retry') return { path: `M${from.left - GAP} ${from.y}H${to.right + GAP}`, at: [0, 0] }
  if (kind === 'back') {
    const edge = width - 8
    const under = to.bottom + TURN
    // Above what is given up, which stands beside it.
    const y = from.top + 9
    const path =
      `M${from.right + GAP} ${y}H${edge - TURN}Q${edge} ${y} ${edge} ${y - TURN}` +
      `V${under + TURN}Q${edge} ${under} ${edge - TURN} ${under}H${to.x + TURN}Q${to.x} ${under} ${to.x} ${to.bottom + GAP}`
    return { path, at: [(from.right + edge) / 2, y - 13] }
  }
  if (kind === 'bad') {
    const [x1, x2] = [from.right + GAP, to.left - GAP]
    return { path: `M${x1} ${to.y}H${x2}`, at: [(x1 + x2) / 2, to.y - 12] }
  }
  const isStraight = name.startsWith('lane:') || target.startsWith('lane:')
  const x = Math.min(from.x, to.x)
  const [x1, x2] = isStraight ? [x, x] : [from.x, to.x]
  const [y1, y2] = [from.bottom + GAP, to.top - GAP]
  const middle = (y1 + y2) / 2
  if (name === 'adapter') {
    const y = y2 - 2 * TURN
    const turn = Math.sign(x2 - x1) * TURN
    const across =
      Math.abs(x2 - x1) < 2 * TURN
        ? `C${x1} ${y} ${x2} ${y} ${x2} ${y + TURN}`
        : `Q${x1} ${y} ${x1 + turn} ${y}H${x2 - turn}Q${x2} ${y} ${x2} ${y + TURN}`
    return { path: `M${x1} ${y1}V${y - TURN}${across}V${y2}`, at: [x2 + 26, y2 - 8] }
  }
  const path = `M${x1} ${y1}C${x1} ${middle} ${x2} ${middle} ${x2} ${y2}`
  return { path, at: [x1 + 26, middle] }
}
