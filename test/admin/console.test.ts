import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import type { Browser } from 'playwright-core'
import type { Actions } from '../../src/admin/actions.ts'
import { History } from '../../src/admin/history.ts'
import type { Status } from '../../src/admin/status.ts'
import { need } from '../need.ts'
import { poll } from '../services/poll.ts'
import { freePorts } from '../services/ports.ts'
import { CONTROLS, FAINT_TEXT, FOCUSED, fits, launch, open } from './browser.ts'
import { busy, HOSTILE, LONG, level, TEN } from './busy.ts'
import { STATUS, sourceOf } from './source.ts'
import { startAdmin } from './start.ts'

const TOKEN = 'a-token-of-sixteen-and-more'

test('allows exactly its own script and style, and no request beyond its own origin', async (t) => {
  const reply = await fetch(await startAdmin(t))
  const html = await reply.text()
  const policy = reply.headers.get('content-security-policy') ?? ''
  for (const tag of ['script', 'style']) {
    const contents = [...html.matchAll(new RegExp(`<${tag}>(.*?)</${tag}>`, 'gs'))]
    assert.equal(contents.length, 1)
    const hash = createHash('sha256').update(contents[0]![1]!).digest('base64')
    assert.ok(policy.includes(`${tag}-src 'sha256-${hash}'`), `${tag} is allowed by its hash`)
  }
  assert.doesNotMatch(policy, /unsafe|\*|https?:/)
})

test('has nothing that the policy would block, and no way in for markup', async (t) => {
  const reply = await fetch(await startAdmin(t))
  const html = await reply.text()
  assert.doesNotMatch(html, /\son\w+="/, 'an inline handler')
  assert.doesNotMatch(html, /\sstyle="/, 'an inline style')
  assert.doesNotMatch(html, /(src|href)="(https?:)?\/\//, 'an outside address')
  assert.doesNotMatch(html, /innerHTML|insertAdjacentHTML|document\.write|\beval\(/)
  const onTheWire = Number(reply.headers.get('content-length'))
  t.diagnostic(`${html.length} bytes, ${onTheWire} on the wire`)
  assert.ok(onTheWire < 30_000, `${onTheWire} bytes`)
})

/** A console whose daemon says whatever `told.status` is; ten events a second. */
async function consoleOf(t: TestContext, status: Status, ports: { actions?: Actions; token?: string } = {}) {
  const told = { status }
  const counters = { done: 0, skipped: 0, dead: 0 }
  const history = new History(() => {
    counters.done += 50
    return { counters: { ...counters }, gauges: { waiting: 9 } }
  })
  for (let second = 0; second < 60; second++) await history.look(Date.now() - (60 - second) * 5_000)
  const source = sourceOf({ status: () => told.status, history })
  const { token, ...rest } = ports
  const url = await startAdmin(t, { source, ...rest }, { eventsIntervalMs: 100, token })
  return { told, url }
}

test('in a real browser', { timeout: 500_000 }, async (t) => {
  const chromium = need(t, 'chromium')
  if (chromium === null) return
  const browser = await launch(t, chromium)

  await t.test('lives: rates, queues and the chart move, and nothing is asked of anybody else', (t) =>
    lives(t, browser),
  )
  await t.test('tells in one sentence what is wrong, the worst first', (t) => tells(t, browser))
  await t.test('shows what others wrote as text, however hostile', (t) => harmless(t, browser))
  await t.test('can be read, in light and dark, and fits into 360 pixels', (t) => readable(t, browser))
  await t.test('leads by keyboard to everything', (t) => reachable(t, browser))
  await t.test('changes nothing without the token, and asks first with it', (t) => changes(t, browser))
  await t.test('says that it lost the daemon', (t) => loses(t, browser))
})

async function lives(t: TestContext, browser: Browser) {
  let seconds = 10
  const { told, url } = await consoleOf(t, busy(seconds))
  const { page, problems } = await open(browser, url, { motion: true })
  const rate = page.locator('text[data-arrow="jobs-intake"]')
  // The clock of the page is real, the counters are ours: whatever the machine does, they grow.
  const ticking = setInterval(() => {
    seconds += 0.1
    told.status = busy(seconds)
  }, 100)
  t.after(() => clearInterval(ticking))
  const [first = ''] = (await until(rate, /^[1-9][\d.,]*\/s$/)) ?? []
  assert.notEqual(first, '')
  const running = 'document.getAnimations().filter((one) => one.playState === "running").length'
  await poll(async () => ((await page.evaluate(running)) as number) > 5 || undefined, {
    ...{ withinMs: 60_000, everyMs: 50, what: 'drops to run along the arrows' },
  })
  const consumed = page.locator('.place.adapter .says')
  const before = await consumed.textContent()
  await poll(async () => ((await consumed.textContent()) !== before ? true : undefined), {
    ...{ withinMs: 60_000, everyMs: 50, what: 'the number of ended jobs to move' },
  })
  assert.match(
    (await page.locator('.band.jobs .series').first().getAttribute('d')) ?? '',
    /^M.{200}/,
    'history',
  )
  assert.equal(await page.locator('.lanes li').count(), 3)
  // Where arrows end, as against the middle of their lanes.
  const aside = `[...document.querySelectorAll('.lanes li')].map((lane) => {
    const { top, height } = lane.getBoundingClientRect()
    const path = document.querySelector('path[data-arrow="intake-' + lane.dataset.place + '"]')
    const end = path.getPointAtLength(path.getTotalLength()).y + document.querySelector('#flow').getBoundingClientRect().top
    return Math.round(Math.abs(top + height / 2 - end))
  })`
  await poll(
    async () => (((await page.evaluate(aside)) as number[]).every((px) => px <= 1) ? true : undefined),
    {
      ...{ withinMs: 60_000, everyMs: 50, what: 'arrows to end at the middle of their lanes' },
    },
  )
  assert.match(
    (await page.locator('.lanes li[data-place="lane:tiktok"] .channel').textContent()) ?? '',
    /blocked until/,
  )
  assert.match((await page.locator('#limits-instagram .bar').first().textContent()) ?? '', /240 waiting/)
  assert.equal(await page.locator('#lag .cells i').count(), 8)
  assert.deepEqual(problems, [])
  await page.close()
}

/** Waits for a text of which an expression holds. */
async function until(
  of: { textContent(): Promise<string | null> },
  pattern: RegExp,
): Promise<RegExpExecArray | null> {
  return poll(async () => pattern.exec((await of.textContent()) ?? '') ?? undefined, {
    ...{ withinMs: 60_000, everyMs: 50, what: `a text like ${pattern}` },
  })
}

async function tells(t: TestContext, browser: Browser) {
  const { told, url } = await consoleOf(t, { ...STATUS, services: busy(0).services })
  const { page, problems } = await open(browser, url)
  const headline = page.locator('#headline')
  await until(headline, /^Ready: no job has come yet\.$/)
  await until(page.locator('#first'), /^No platform has credentials/)
  const one = busy(10)
  const [first, ...others] = one.platforms
  const levels = one.levels.filter(({ blockedUntilMs }) => blockedUntilMs === 0)
  const steps: [Status, RegExp][] = [
    [{ ...STATUS, services: one.services, jobs: { ...STATUS.jobs, consumed: 1 } }, /^All caught up/],
    [
      { ...one, levels },
      /^At full speed: 270 calls wait, most of all for instagram (platform|user_profile)\.$/,
    ],
    [one, /^tiktok asked us to wait until \d\d:\d\d\.$/],
    [{ ...one, loop: { p50Ms: 1, p99Ms: 300 }, levels }, /^The event loop is late: 300 ms at p99\.$/],
    [
      {
        ...one,
        platforms: [
          { ...first!, credentials: [{ ...first!.credentials[0]!, name: 'second', refused: true }] },
          ...others,
        ],
      },
      /^instagram refuses the credential second\.$/,
    ],
    [
      { ...one, platforms: [{ ...first!, pausedBecause: 'most of its jobs die' }, ...others] },
      /^instagram is paused: most of its jobs die\.$/,
    ],
    [
      { ...one, services: [{ service: 'redis', away: 'the limiter does not answer' }] },
      /^The limiter does not answer\.$/,
    ],
    [
      { ...one, services: [{ service: 'clickhouse', away: 'ClickHouse does not take rows' }] },
      /^ClickHouse does not take rows\. The intake is held\.$/,
    ],
  ]
  for (const [status, expected] of steps) {
    told.status = status
    await until(headline, expected)
  }
  assert.equal(await page.locator('.place.rows').getAttribute('data-tone'), 'bad')
  assert.deepEqual(problems, [])
  await page.close()
}

/** A status in which everything that can come from outside is hostile, and long. */
function hostile(): Status {
  const one = busy(10)
  const [sample] = one.jobs.recentFailures
  const [platform] = one.platforms
  const text = `${HOSTILE} ${LONG}`
  const credential = { ...platform!.credentials[0]!, name: text, refused: true, aside: true }
  return {
    ...one,
    version: text,
    jobs: {
      ...one.jobs,
      recentFailures: [{ ...sample!, jobId: text, creatorId: text, message: text, platform: text }],
    },
    platforms: [{ ...platform!, pausedBecause: text, credentials: [credential] }, ...one.platforms.slice(1)],
    services: [{ service: 'store', away: text }],
    levels: [...one.levels, level(`endpoint:tiktok/${text}`), level(`credential:tiktok/${text}`)],
    partitions: [{ topic: text, partition: 0, lag: 7, paused: false }],
    pictures: { ...one.pictures, newest: [`pictures/${HOSTILE}.jpg`] },
    replay: { reason: 'timeout', state: 'failed', planned: 1, sent: 0, leftOut: 0, problem: text },
    fleet: TEN.map((member) => ({ ...member, name: text, url: `javascript:window.pwned=9//${HOSTILE}` })),
  }
}

async function harmless(t: TestContext, browser: Browser) {
  const { url } = await consoleOf(t, hostile(), { actions: NOTHING, token: TOKEN })
  const { page, problems } = await open(browser, url)
  await page.locator('details[data-reason="not_found"] summary').click()
  await until(page.locator('.samples .message'), /onerror/)
  for (const of of [
    '.samples .who',
    '.samples .message',
    '.samples .id',
    '.credentials b',
    '#limits-instagram .why',
    '#lag code',
    '#replay',
    '#about',
  ])
    assert.ok((await page.locator(of).first().textContent())?.includes('<script>window.pwned=2</script>'), of)
  assert.equal(await page.locator('#fleet a[href]').count(), 0, 'an address that is none leads nowhere')
  assert.equal(await page.evaluate('window.pwned'), undefined)
  assert.equal(
    await page.evaluate('document.querySelectorAll("main script, main [onerror], main [onload]").length'),
    0,
  )
  // Long words break.
  await fits(page, 1440)
  await page.setViewportSize({ width: 360, height: 780 })
  await fits(page, 360)
  // The picture that is none was asked for, and refused.
  assert.deepEqual(
    problems.filter((text) => !/404/.test(text)),
    [],
  )
  await page.close()
}

async function readable(t: TestContext, browser: Browser) {
  const one = busy(10)
  const { told, url } = await consoleOf(t, { ...one, fleet: TEN }, { actions: NOTHING, token: TOKEN })
  for (const scheme of ['light', 'dark'] as const) {
    const { page, problems } = await open(browser, url, { scheme, size: { width: 360, height: 780 } })
    for (const status of [{ ...one, fleet: TEN }, hostile(), { ...STATUS, fleet: TEN }]) {
      told.status = status
      await until(page.locator('#about'), status.version === STATUS.version ? /version 0\.1\.0$/ : /onerror/)
      await fits(page, 360)
      assert.deepEqual(await page.evaluate(FAINT_TEXT), [], scheme)
    }
    assert.deepEqual(
      problems.filter((text) => !/404/.test(text)),
      [],
    )
    await page.close()
  }
  // The switch wins over the system.
  const { page } = await open(browser, url, { scheme: 'light' })
  const paper = () => page.evaluate('getComputedStyle(document.body).backgroundColor')
  const light = await paper()
  await page.locator('#theme input[value=dark]').check()
  assert.notEqual(await paper(), light)
  await page.reload()
  assert.notEqual(await paper(), light, 'it is remembered')
  await page.close()
}

async function reachable(t: TestContext, browser: Browser) {
  const { url } = await consoleOf(t, { ...busy(10), fleet: TEN }, { actions: NOTHING, token: TOKEN })
  const { page } = await open(browser, url)
  await page.locator('details[data-reason="not_found"] summary').focus()
  await page.keyboard.press('Enter')
  await page.getByRole('button', { name: 'Send the dead letters of not_found back' }).waitFor()
  const controls = (await page.evaluate(CONTROLS)) as string[]
  assert.ok(controls.length > 20, controls.join('\n'))
  await page.evaluate('document.activeElement.blur(); scrollTo(0, 0)')
  const reached = new Set<string>()
  for (let i = 0; i < controls.length + 5; i++) {
    await page.keyboard.press('Tab')
    const at = (await page.evaluate(FOCUSED)) as { seen?: string; isVisible: boolean } | null
    if (at === null) continue
    assert.ok(
      at.isVisible,
      `the focus cannot be seen: ${controls.find((one) => one.startsWith(`${at.seen} `))}`,
    )
    reached.add(at.seen ?? '')
  }
  assert.deepEqual(
    controls.filter((one) => !reached.has(one.split(' ')[0]!)),
    [],
  )

  await page.locator('#chart').focus()
  for (const key of ['ArrowLeft', 'ArrowLeft', 'Home']) await page.keyboard.press(key)
  assert.match((await page.locator('#readout').textContent()) ?? '', /^at \d\d:\d\d:\d\d/)
  await page.keyboard.press('Escape')
  assert.doesNotMatch((await page.locator('#readout').textContent()) ?? '', /^at/)
  await page.close()
}

const NOTHING: Actions = { pause: async () => null, resume: async () => null, replay: async () => null }

async function changes(t: TestContext, browser: Browser) {
  const done: unknown[][] = []
  const note = async (problem: string | null, ...what: unknown[]) => {
    done.push(what)
    return problem
  }
  const { told, url } = await consoleOf(t, busy(10), {
    token: TOKEN,
    actions: {
      pause: (...args) => note(null, 'pause', ...args),
      resume: (...args) => note('It cannot be resumed.', 'resume', ...args),
      replay: (...args) => note(null, 'replay', ...args),
    },
  })
  const { page, problems, requests } = await open(browser, url)
  const answer = async (text: string) => {
    await page.locator('#ask-input').fill(text)
    await page.keyboard.press('Enter')
  }
  await page.getByRole('button', { name: 'Pause tiktok' }).click()
  await answer('a-wrong-token-of-somebody')
  await until(page.locator('#ask-problem'), /Wrong token/)
  await answer(TOKEN)
  await until(page.locator('#ask-title'), /Pause tiktok\?/)
  assert.deepEqual(done, [], 'asked first')
  await page.keyboard.press('Escape')
  await page.getByRole('button', { name: 'Pause tiktok' }).click()
  await answer('their status page')
  await until(page.locator('#toast'), /tiktok is paused/)
  assert.deepEqual(done, [['pause', 'tiktok', 'their status page']])

  const one = busy(10)
  told.status = { ...one, platforms: one.platforms.map((of) => ({ ...of, pausedBecause: 'by hand' })) }
  await page.getByRole('button', { name: 'Resume tiktok' }).click()
  await page.locator('#ask-yes').click()
  await until(page.locator('#ask-problem'), /It cannot be resumed/)
  await page.locator('#ask-no').click()
  await page.locator('details[data-reason="not_found"] summary').click()
  await page.getByRole('button', { name: 'Send the dead letters of not_found back' }).click()
  await page.locator('#ask-yes').click()
  await until(page.locator('#toast'), /being sent back/)
  assert.deepEqual(done.slice(1), [
    ['resume', 'tiktok'],
    ['replay', 'not_found'],
  ])
  const kept = '[sessionStorage.length, localStorage.length, document.cookie]'
  assert.deepEqual(await page.evaluate(kept), [1, 0, ''])
  assert.ok(!requests.some((address) => address.includes(TOKEN)))
  await page.getByRole('button', { name: 'Lock', exact: true }).click()
  assert.equal(await page.evaluate('sessionStorage.length'), 0)
  // What was refused is an error to the browser, too.
  assert.deepEqual(
    problems.filter((text) => !/401|409/.test(text)),
    [],
  )

  const shown = await consoleOf(t, busy(10), { actions: NOTHING })
  const { page: other } = await open(browser, shown.url)
  assert.equal(
    await other.getByRole('button', { name: /Pause|Resume|Unlock|Send/ }).count(),
    0,
    'no token, no buttons',
  )
  await Promise.all([page.close(), other.close()])
}

async function loses(t: TestContext, browser: Browser) {
  const { AdminServer } = await import('../../src/admin/server.ts')
  const { createMetrics } = await import('../../src/telemetry/metrics.ts')
  const { log } = await import('./start.ts')
  let seconds = 10
  const start = async (port: number) => {
    const server = new AdminServer(
      { host: '127.0.0.1', port, eventsIntervalMs: 100 },
      { source: sourceOf({ status: () => busy(seconds++) }), metrics: createMetrics(), log },
    )
    t.after(() => server.stop())
    return { server, address: await server.start() }
  }
  // Not one that a neighbour gets while nobody is there.
  const { server, address } = await start((await freePorts(1))[0]!)
  const { page } = await open(browser, address.url, { motion: true })
  const running = 'document.getAnimations().filter((one) => one.playState === "running").length'
  const moves = (still: boolean) =>
    poll(async () => (((await page.evaluate(running)) === 0) === still ? true : undefined), {
      ...{ withinMs: 60_000, everyMs: 50, what: still ? 'all to stand still' : 'something to move' },
    })
  await moves(false)
  await server.stop()
  await until(page.locator('#state'), /^no connection$/)
  await until(page.locator('#headline'), /does not answer/)
  await moves(true)
  await start(address.port)
  await until(page.locator('#state'), /^ready$/)
  await moves(false)
  await page.close()
}
