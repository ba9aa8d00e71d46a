/** @typedef {HTMLElement | SVGElement} Node_ */

const SVG = 'http://www.w3.org/2000/svg'

/**
 * An element. Text only ever goes in as text: nothing that came from outside is parsed as HTML. `svg:` before the tag makes one of
 * SVG; a property that is undefined or false is left out.
 * @param {string} tag
 * @param {Record<string, string | number | boolean | undefined>} [props]
 * @param {...(Element | string)} children
 * @returns {HTMLElement}
 */
export function make(tag, props = {}, ...children) {
  const node = tag.startsWith('svg:')
    ? document.createElementNS(SVG, tag.slice(4))
    : document.createElement(tag)
  for (const [name, value] of Object.entries(props)) {
    if (value !== undefined && value !== false) node.setAttribute(name, value === true ? '' : String(value))
  }
  node.append(...children)
  return /** @type {HTMLElement} */ (node)
}

/** The element with an id, which the page has.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id))
}

/** A child that the caller made.
 * @param {Element} parent
 * @param {string} selector
 * @returns {HTMLElement}
 */
export function within(parent, selector) {
  return /** @type {HTMLElement} */ (parent.querySelector(selector))
}

/** Touches the page only when something is different.
 * @param {Element} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text
}

/** As setText; undefined takes the attribute away.
 * @param {Element} node
 * @param {string} name
 * @param {string | number | undefined} value
 */
export function setProp(node, name, value) {
  if (value === undefined) node.removeAttribute(name)
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, String(value))
}

/**
 * Keeps one child per key, in order, without rebuilding those that stay: focus and open details survive.
 * @template T
 * @param {Element} parent
 * @param {readonly T[]} items
 * @param {{ key: (item: T) => string, create: (item: T) => HTMLElement, update: (node: HTMLElement, item: T) => void }} how
 */
export function keyed(parent, items, { key: keyOf, create, update }) {
  /** @type {Map<string | undefined, HTMLElement>} */
  const old = new Map()
  for (const child of /** @type {Iterable<HTMLElement>} */ (parent.children))
    old.set(child.dataset.key, child)
  /** @type {HTMLElement | null} */
  let after = null
  for (const item of items) {
    const key = keyOf(item)
    const child = old.get(key) ?? create(item)
    child.dataset.key = key
    old.delete(key)
    /** @type {ChildNode | null} */
    const place = after === null ? parent.firstChild : after.nextSibling
    if (place !== child) parent.insertBefore(child, place)
    update(child, item)
    after = child
  }
  for (const child of old.values()) child.remove()
}
