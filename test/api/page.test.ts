import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Browser, chromium } from 'playwright-core'
import { refreshViews } from '../../src/timeseries/queries.ts'
import { fits } from '../admin/browser.ts'
import { need } from '../need.ts'
import { DAY_MS, openFilled, resultOf, START_MS, startApi } from './support.ts'

const EVIL = '<img src=x onerror="document.title=1"><script>document.title=2</script>'

describe('the page', () => {
  test('shows creators, growth, movers and coverage, in both schemes and at 360 px, and runs nothing of anybody else’s', async (t) => {
    const clickhouse = need(t, 'clickhouse')
    const executablePath = need(t, 'chromium')
    if (clickhouse === null || executablePath === null) return
    const { engine, write } = await openFilled(
      t,
      clickhouse,
      Array.from({ length: 20 }, (_, n) =>
        [0, 1, 3, 4].map((day) => ({
          creatorId: `c${n}`,
          tsMs: START_MS + day * DAY_MS,
          followers: 10_000 + n * 1_000 + day * (n - 5) * 10,
          facts: n === 7 ? { name: EVIL, biography: EVIL } : { name: `Creator ${n}` },
        })),
      ).flat(),
    )
    await refreshViews(engine)
    const { url, onResult } = await startApi(t, engine)
    const browser: Browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
    t.after(() => browser.close())
    const page = await browser.newPage({ viewport: { width: 1200, height: 900 } })
    page.setDefaultTimeout(60_000)
    const trouble: string[] = []
    const foreign: string[] = []
    page.on('console', (message) => message.type() === 'error' && trouble.push(message.text()))
    page.on('pageerror', (error) => trouble.push(error.message))
    page.on('request', (request) => {
      if (!request.url().startsWith(url) && !request.url().startsWith('data:')) foreign.push(request.url())
    })

    await page.goto(url)
    await page.locator('#list .row').nth(14).waitFor()
    await page.locator('#more').click()
    await page.locator('#list .row').nth(19).waitFor()
    // Filled last of what another request brings.
    await page.locator('#cover', { hasText: 'instagram' }).waitFor()
    assert.equal(await page.locator('#totals').textContent(), '20 creators')
    assert.match((await page.locator('#rising').textContent()) ?? '', /Creator 19/)
    assert.match((await page.locator('#falling').textContent()) ?? '', /Creator 0/)
    assert.match((await page.locator('#cover').textContent()) ?? '', /instagram/)

    await page.locator('#q').fill('creator 12')
    await page.locator('#list .row').nth(1).waitFor({ state: 'detached' })
    await page.locator('#list .row').click()
    await page.locator('#chart path').waitFor()
    // Day 2 has no number: the line is broken there, not drawn through.
    assert.match((await page.locator('#chart path').getAttribute('d')) ?? '', /^M[^M]+L[^M]+M[^M]+L[^M]+$/)
    assert.match(
      (await page.locator('#chart').getAttribute('aria-label')) ?? '',
      /followers from 22,000 to 22,280/,
    )

    // Its next snapshot comes by itself.
    await page.locator('#live', { hasText: /^live/ }).waitFor()
    await write([
      { creatorId: 'c12', tsMs: START_MS + 5 * DAY_MS, followers: 44_000, facts: { name: 'Creator 12' } },
    ])
    onResult(resultOf({ creator_id: 'c12' }))
    await page.locator('#facts', { hasText: '44K' }).waitFor()

    await page.locator('#q').fill('onerror')
    await page.locator('#list .row', { hasText: 'onerror' }).click()
    await page.locator('#biography', { hasText: 'onerror' }).waitFor()
    assert.equal(await page.title(), 'millrace: creators')

    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      const [back, text] = (await page.evaluate(
        'const style = getComputedStyle(document.body); [style.backgroundColor, style.color]',
      )) as [string, string]
      assert.ok(contrast(back, text) > 7, `${colorScheme}: ${back} ${text}`)
    }
    await page.setViewportSize({ width: 360, height: 740 })
    await fits(page, 360)
    if (process.env.MILLRACE_SCREENSHOTS !== undefined)
      await page.screenshot({ path: `${process.env.MILLRACE_SCREENSHOTS}/api-360.png`, fullPage: true })

    await page.goto(`${url}/docs`)
    await fits(page, 360)
    assert.match((await page.locator('body').textContent()) ?? '', /GET \/v1\/creators/)
    assert.deepEqual([trouble, foreign], [[], []])
  })
})

/** WCAG's, of two `rgb(…)`. */
function contrast(a: string, b: string): number {
  const light = (color: string) => {
    const [red = 0, green = 0, blue = 0] = (color.match(/\d+/g) ?? []).map((part) => {
      const share = Number(part) / 255
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
  }
  const [high = 0, low = 0] = [light(a), light(b)].sort((x, y) => y - x)
  return (high + 0.05) / (low + 0.05)
}
