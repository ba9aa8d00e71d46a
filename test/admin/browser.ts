import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { type Browser, chromium, type Page } from 'playwright-core'
import { poll } from '../services/poll.ts'

/** Wide enough for the whole picture. */
export const WIDE = { width: 1440, height: 900 }

export interface Opened {
  readonly page: Page
  /** Errors of the page and of its console, dialogs, and requests to anywhere but the daemon. */
  readonly problems: string[]
  /** Addresses of all requests. */
  readonly requests: string[]
}

/** The machine's Chromium, headless, ended after the test. */
export async function launch(t: TestContext, executablePath: string): Promise<Browser> {
  // As root it has no sandbox; a container's /dev/shm is too small for it.
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] })
  t.after(() => browser.close())
  return browser
}

/** Opens the console and waits for the first event. `motion`: without it nothing is animated, which costs the machine much. */
export async function open(
  browser: Browser,
  url: string,
  options: { size?: { width: number; height: number }; scheme?: 'light' | 'dark'; motion?: boolean } = {},
): Promise<Opened> {
  const { size = WIDE, scheme = 'light', motion = false } = options
  const page = await browser.newPage({
    viewport: size,
    colorScheme: scheme,
    reducedMotion: motion ? 'no-preference' : 'reduce',
  })
  page.setDefaultTimeout(60_000)
  const problems: string[] = []
  const requests: string[] = []
  page.on('console', (message) => {
    // The page asks again for a picture that a slow store does not give in time.
    const isBusy =
      /status of 503/.test(message.text()) && message.location().url.startsWith(`${url}/pictures/`)
    if (isBusy) return
    if (message.type() === 'error' || message.type() === 'warning') problems.push(message.text())
  })
  page.on('pageerror', (error) => problems.push(String(error)))
  page.on('dialog', (dialog) => {
    problems.push(`a dialog: ${dialog.message()}`)
    void dialog.dismiss()
  })
  page.on('request', (request) => {
    requests.push(request.url())
    if (!request.url().startsWith(`${url}/`) && !request.url().startsWith('data:'))
      problems.push(`a request to ${request.url()}`)
  })
  await page.goto(`${url}/`)
  await page.locator('.tile').first().waitFor()
  return { page, problems, requests }
}

/** Waits until the page is laid out for a width and no wider than that. */
export async function fits(page: Page, width: number): Promise<void> {
  const asWide = async () => {
    assert.equal(await page.evaluate('document.documentElement.scrollWidth'), width)
    return true
  }
  await poll(asWide, { withinMs: 60_000, everyMs: 50, what: `the page fits into ${width} pixels` })
}

/**
 * Text that is harder to read than WCAG AA allows, run in the page: the contrast of every visible text with the first opaque colour
 * behind it. Text on a gradient or a picture is left out; there is none.
 */
export const FAINT_TEXT = `(() => {
  const parse = (text) => {
    const [r = 0, g = 0, b = 0, a = 1] = (text.match(/[\\d.]+/g) ?? []).map(Number)
    return { r, g, b, a: text === 'transparent' ? 0 : a }
  }
  const light = ({ r, g, b }) => {
    const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    return 0.2126 * x + 0.7152 * y + 0.0722 * z
  }
  const behind = (node) => {
    for (let at = node; at !== null; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor)
      if (colour.a > 0.99) return colour
    }
    return { r: 255, g: 255, b: 255 }
  }
  const faint = []
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement
    if (walker.currentNode.textContent.trim() === '' || !node.checkVisibility({ visibilityProperty: true })) continue
    if (['SCRIPT', 'STYLE', 'title'].includes(node.tagName)) continue
    const style = getComputedStyle(node)
    const ink = parse(node instanceof SVGElement ? style.fill : style.color)
    const [a, b] = [light(ink), light(behind(node))]
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
    const size = parseFloat(style.fontSize)
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700)
    if (ratio < (isLarge ? 3 : 4.5)) faint.push(ratio.toFixed(2) + ' ' + walker.currentNode.textContent.trim().slice(0, 40))
  }
  return faint
})()`

/** Everything that can be reached by keyboard, as it describes itself, run in the page. A group of radio buttons is one. */
export const CONTROLS = `(() => {
  const all = [...document.querySelectorAll('a[href], button, input, summary, [tabindex="0"]')]
  const shown = all.filter((node) => node.checkVisibility({ visibilityProperty: true }) && !(node.type === 'radio' && !node.checked))
  return shown.map((node) => (node.dataset.seen ??= String(window.seen = (window.seen ?? 0) + 1)) + ' ' + node.tagName + ' ' + (node.getAttribute('aria-label') ?? node.textContent.trim()).slice(0, 40))
})()`

/** The one that has the focus, as CONTROLS describes it, and whether that can be seen. */
export const FOCUSED = `(() => {
  const node = document.activeElement
  if (node === document.body || node === null) return null
  const shown = node.type === 'radio' ? node.nextElementSibling : node
  const { outlineStyle, outlineWidth } = getComputedStyle(shown)
  return { seen: node.dataset.seen, isVisible: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 1 }
})()`
