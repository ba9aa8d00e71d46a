import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { configuredLimits } from '../../src/cli/demo/limits.ts'
import { type ConfigInput, configSchema } from '../../src/config/schema.ts'
import { startDaemon } from '../../src/daemon.ts'
import { creatorIds } from '../../src/simulator/creators.ts'
import { DEFAULT_CREDENTIALS, OPEN_LIMITS, PLAYED } from '../../src/simulator/options.ts'
import { createSimulator } from '../../src/simulator/simulator.ts'
import { need } from '../need.ts'
import { poll } from '../services/poll.ts'
import { openBucket } from '../store/bucket.ts'
import { silent } from '../timeseries/support.ts'
import { launch, open } from './browser.ts'

const TOKEN = 'a-token-of-sixteen-and-more'
const SEED = 11
/** Of youtube and of tiktok each. */
const CREATORS = 6

/** A whole daemon on embedded parts and a real S3 store, and the simulator. Instagram has no credentials, and youtube a second key that is refused. */
async function start(t: TestContext, store: NonNullable<ConfigInput['store']>) {
  const simulator = createSimulator({
    ...{ seed: SEED, creators: 1_000, limits: OPEN_LIMITS, latencyMs: 1, jitterMs: 0 },
    ...{ missingShare: 0, privateShare: 0 },
  })
  const { port } = await simulator.start()
  t.after(() => simulator.stop())
  const folder = mkdtempSync(join(tmpdir(), 'millrace-console-'))
  const { youtube, tiktok } = DEFAULT_CREDENTIALS
  const credentials = {
    instagram: undefined,
    tiktok,
    youtube: { first: youtube, second: { key: 'revoked' } },
  }
  const config = configSchema.parse({
    data: folder,
    store,
    limits: configuredLimits(),
    platforms: Object.fromEntries(
      PLAYED.map((platform) => [
        platform,
        {
          ...{ origin: `http://127.0.0.1:${port}/${platform}`, private_origin: true },
          credentials: credentials[platform],
        },
      ]),
    ),
    images: { private_hosts: [`127.0.0.1:${port}`] },
    rows: { batch_age: '50ms' },
    admin: { port: 0, token: TOKEN },
  })
  const input = new PassThrough()
  const daemon = await startDaemon(config, {
    ...{ log: silent, input: { stream: input }, directory: folder, uvThreads: 4 },
  })
  t.after(async () => {
    await daemon.stop()
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
  })
  const give = (platform: 'youtube' | 'tiktok') => {
    for (const creator_id of creatorIds(platform, SEED, CREATORS, { missingShare: 0, privateShare: 0 })) {
      const job = { platform, creator_id, job_type: 'full_profile_scrape', params: { pictures_max: 1 } }
      input.write(`${JSON.stringify(job)}\n`)
    }
  }
  return { daemon, give, url: daemon.adminUrl! }
}

test('shows a real daemon at work, and stops a platform of it', { timeout: 500_000 }, async (t) => {
  const chromium = need(t, 'chromium')
  const bucket = await openBucket(t)
  if (chromium === null || bucket === null) return
  const [browser, { daemon, give, url }] = await Promise.all([launch(t, chromium), start(t, bucket.section)])
  const { page, problems } = await open(browser, url)
  const shows = (selector: string, pattern: RegExp) =>
    poll(async () => pattern.exec((await page.locator(selector).first().textContent()) ?? '') ?? undefined, {
      ...{ withinMs: 90_000, everyMs: 50, what: `${selector} to say ${pattern}` },
    })
  const ended = async () => (await daemon.status()).jobs.finished.done
  const endsWith = (count: number) =>
    poll(async () => ((await ended()) >= count ? true : undefined), {
      ...{ withinMs: 90_000, everyMs: 50, what: `${count} jobs to end` },
    })

  await shows('.lanes li[data-place="lane:instagram"] .channel', /no credentials/)
  await shows('#headline', /^Ready: no job has come yet\.$/)
  await shows('#first', /^One job a line.*"platform":"(youtube|tiktok)"/)
  await shows('#failures', /^None so far\.$/)
  assert.equal(await page.getByRole('button', { name: 'Pause instagram' }).count(), 0, 'nothing to pause')

  await page.getByRole('button', { name: 'Pause tiktok' }).click()
  await page.locator('#ask-input').fill(TOKEN)
  await page.keyboard.press('Enter')
  await shows('#ask-title', /^Pause tiktok\?$/)
  await page.locator('#ask-input').fill('to see it <b>')
  await page.keyboard.press('Enter')
  await shows('#headline', /^tiktok is paused: by hand, to see it <b>\./)

  give('tiktok')
  give('youtube')
  await endsWith(CREATORS)
  await shows('.lanes li[data-place="lane:tiktok"] .channel', /paused, 6\swaiting/)
  await shows('#limits-youtube .credentials', /credential second.*refused by youtube: set aside/)
  assert.equal(await ended(), CREATORS, 'none of the paused platform')

  await page.getByRole('button', { name: 'Resume tiktok' }).click()
  await page.locator('#ask-yes').click()
  await endsWith(2 * CREATORS)
  await shows('.place.results .says', /^12 sent$/)

  const loaded = `[...document.querySelectorAll('#strip img')].filter((image) => image.naturalWidth > 0).length`
  await poll(async () => (((await page.evaluate(loaded)) as number) > 3 ? true : undefined), {
    ...{ withinMs: 90_000, everyMs: 100, what: 'resized pictures in the strip' },
  })
  const shown = (await page.locator('#strip img').first().getAttribute('src')) ?? ''
  assert.deepEqual(
    Buffer.from(await (await answered(`${url}/${shown}`)).arrayBuffer()),
    await bucket.store.get(shown),
    'the very object in the bucket',
  )
  assert.deepEqual(problems, [])
  const { paused, refused } = await statusOf(url)
  assert.deepEqual(paused, ['instagram'])
  assert.deepEqual(refused, ['second'])
})

/** What it bounds, the admin port refuses after a standstill, once. */
function answered(url: string): Promise<Response> {
  const ask = async () => {
    const reply = await fetch(url)
    if (reply.ok) return reply
    throw new Error(`${reply.status} ${await reply.text()}`)
  }
  return poll(ask, { withinMs: 90_000, what: url })
}

async function statusOf(url: string) {
  const status = (await (await answered(`${url}/status`)).json()) as Awaited<
    ReturnType<Awaited<ReturnType<typeof startDaemon>>['status']>
  >
  return {
    paused: status.platforms.filter((one) => one.pausedBecause !== null).map(({ platform }) => platform),
    refused: status.platforms
      .flatMap(({ credentials }) => credentials)
      .filter((one) => one.refused)
      .map(({ name }) => name),
  }
}
