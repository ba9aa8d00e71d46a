import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { before, test } from 'node:test'
import sharp from 'sharp'
import { AttemptError, MillraceError, ServiceAwayError } from '../../src/job/errors.ts'
import type { PictureOutcome } from '../../src/job/picture.ts'
import { FolderStore } from '../../src/store/folder.ts'
import { until } from '../until.ts'
import { drawn } from './sources.ts'
import { openStage, temporaryFolder } from './stage-parts.ts'

const URL_A = 'https://cdn.example/a.jpg'
const URL_B = 'https://cdn.example/b.jpg?signature=2'

let jpegs: Buffer[] = []
before(async () => {
  jpegs = await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map((seed) => drawn(500, 400, seed).jpeg().toBuffer()))
})

/** A body of its own for each answer: the stage owns what it is given. */
function body(index: number): Buffer {
  return Buffer.from(jpegs[index]!)
}

function stored(outcome: PictureOutcome): PictureOutcome & { status: 'stored' } {
  if (outcome.status === 'rejected') assert.fail(outcome.why)
  return outcome
}

function whyOf(outcome: PictureOutcome): string {
  return outcome.status === 'rejected' ? outcome.why : assert.fail('stored')
}

test('a picture is downloaded, resized and stored, with everything a page needs to show it', async (t) => {
  const { stage, picture, downloader, store, metrics } = await openStage(t)
  downloader.on(URL_A, () => ({ body: body(0), headers: { 'content-type': 'text/html' } }))
  const outcome = stored(await picture(URL_A))
  const sha256 = hash('sha256', jpegs[0]!)
  assert.equal(outcome.sha256, sha256)
  assert.equal(outcome.subject, 'avatar')
  assert.equal(outcome.url, URL_A)
  assert.equal(outcome.known, false)
  assert.deepEqual(
    outcome.variants.map(({ variant, width, height, key }) => ({ variant, width, height, key })),
    [
      { variant: 'full', width: 500, height: 400, key: `pictures/${sha256.slice(0, 2)}/${sha256}/full.jpg` },
      {
        variant: 'thumb',
        width: 150,
        height: 150,
        key: `pictures/${sha256.slice(0, 2)}/${sha256}/thumb.jpg`,
      },
    ],
  )
  for (const { key, width, bytes } of outcome.variants) {
    const object = await store.get(key)
    assert.equal(object?.length, bytes)
    const { format, width: opened } = await sharp(object!).metadata()
    assert.deepEqual([format, opened], ['jpeg', width])
  }
  const observed = (await metrics.picture_stage_duration_seconds.get()).values
  for (const name of ['download', 'wait', 'resize', 'store']) {
    const count = observed.find(
      ({ metricName, labels }) => metricName?.endsWith('_count') && labels.stage === name,
    )
    assert.equal(count?.value, 1, name)
  }
  assert.deepEqual(stage.load, { inside: 0, bytes: 0, waiting: 0 })
  assert.equal(stage.healthy, true)
})

test('the same bytes are resized once, whatever their address and whichever process stored them', async (t) => {
  const shelf = new FolderStore({ folder: await temporaryFolder(t), flush: false })
  const one = await openStage(t, { store: shelf })
  for (const url of [URL_A, URL_B]) one.downloader.on(url, () => ({ body: body(0) }))
  const first = stored(await one.picture(URL_A))
  const second = stored(await one.picture(URL_B))
  assert.deepEqual([first.known, second.known], [false, true])
  assert.equal(one.store.calls.put, 2)
  const other = await openStage(t, { store: shelf })
  other.downloader.on(URL_B, () => ({ body: body(0) }))
  const third = stored(await other.picture(URL_B))
  assert.equal(third.known, true)
  assert.equal(other.store.calls.put, 0)
  assert.deepEqual({ ...third, url: '' }, { ...first, url: '', known: true })
})

test('a picture of which a variant is missing is completed', async (t) => {
  const { picture, downloader, store } = await openStage(t, { trustMs: 0 })
  downloader.on(URL_A, () => ({ body: body(0) }))
  const first = stored(await picture(URL_A))
  await store.delete(first.variants[1]!.key)
  store.outcomes.length = 0
  const again = stored(await picture(URL_A))
  assert.equal(again.known, false)
  assert.deepEqual(store.outcomes.toSorted(), ['present', 'written'])
  assert.deepEqual(again.variants, first.variants)
})

test('an address asked for many times at once is downloaded once, and so are equal bytes resized once', async (t) => {
  const { picture, downloader, store } = await openStage(t)
  for (const url of [URL_A, URL_B]) downloader.on(url, () => ({ body: body(0) }))
  const held = Promise.withResolvers<void>()
  downloader.hold = held.promise
  const asked = [URL_A, URL_A, URL_B, URL_A, URL_B].map((url) => picture(url))
  await until(() => downloader.inFlight === 2, 'both downloads')
  held.resolve()
  const outcomes = (await Promise.all(asked)).map(stored)
  assert.deepEqual(
    outcomes.map(({ url }) => url),
    [URL_A, URL_A, URL_B, URL_A, URL_B],
  )
  assert.equal(downloader.asked.length, 2)
  assert.equal(store.calls.put, 2)
})

test('the same picture in 100 jobs at once, from ten addresses, is resized once', async (t) => {
  const { stage, downloader, store, metrics } = await openStage(t)
  const urls = Array.from({ length: 10 }, (_, n) => `https://cdn${n}.example/a.jpg`)
  for (const url of urls) downloader.on(url, () => ({ body: body(0) }))
  const jobs = Array.from({ length: 100 }, (_, n) =>
    stage.process({ url: urls[n % 10]!, subject: 'avatar' }, new AbortController().signal),
  )
  const outcomes = (await Promise.all(jobs)).map(stored)
  assert.equal(new Set(outcomes.map(({ sha256 }) => sha256)).size, 1)
  const observed = (await metrics.picture_stage_duration_seconds.get()).values
  const resized = observed.find(
    ({ metricName, labels }) => metricName?.endsWith('_count') && labels.stage === 'resize',
  )
  assert.equal(resized?.value, 1)
  assert.equal(downloader.asked.length, 10)
  assert.deepEqual(store.outcomes, ['written', 'written'])
})

test('an unchanged picture costs a 304 and nothing else', async (t) => {
  const { picture, downloader, store } = await openStage(t)
  downloader.on(URL_A, ({ validators }) =>
    validators?.etag === '"v1"'
      ? { status: 304 }
      : { body: body(0), headers: { etag: '"v1"', 'last-modified': 'Sat, 01 Aug 2026 00:00:00 GMT' } },
  )
  const first = stored(await picture(URL_A))
  const calls = { ...store.calls }
  const second = stored(await picture(URL_A))
  assert.deepEqual(downloader.asked[1]?.options.validators, {
    etag: '"v1"',
    lastModified: 'Sat, 01 Aug 2026 00:00:00 GMT',
  })
  assert.equal(second.known, true)
  assert.deepEqual(second.variants, first.variants)
  assert.deepEqual(store.calls, calls)
})

test('a remembered picture that has gone from the store is fetched afresh', async (t) => {
  let nowMs = 1_000_000
  const { picture, downloader, store } = await openStage(t, { now: () => nowMs, trustMs: 60_000 })
  downloader.on(URL_A, ({ validators }) =>
    validators === undefined ? { body: body(0), headers: { etag: '"v1"' } } : { status: 304 },
  )
  const first = stored(await picture(URL_A))
  for (const { key } of first.variants) await store.delete(key)
  nowMs += 61_000
  const again = stored(await picture(URL_A))
  assert.equal(again.known, false)
  assert.equal(downloader.asked[1]?.options.validators, undefined)
  assert.equal((await store.get(first.variants[0]!.key))?.length, first.variants[0]!.bytes)
})

test('no more addresses are remembered than allowed', async (t) => {
  const { picture, downloader } = await openStage(t, { rememberedMax: 1 })
  for (const [index, url] of [URL_A, URL_B].entries()) {
    downloader.on(url, ({ validators }) =>
      validators === undefined ? { body: body(index), headers: { etag: '"v"' } } : { status: 304 },
    )
  }
  for (const url of [URL_A, URL_B, URL_B, URL_A]) stored(await picture(url))
  assert.deepEqual(
    downloader.asked.map(({ options }) => options.validators !== undefined),
    [false, false, true, false],
  )
})

test('whatever is wrong with a picture, its job gets a rejection with why', async (t) => {
  const { picture, downloader } = await openStage(t, { bytesMax: 100_000 })
  const refuse = (reason: 'too_large' | 'address_refused', message: string) =>
    new AttemptError(reason, message)
  downloader.on('https://cdn.example/gone', { status: 404 })
  downloader.on('https://cdn.example/moved', { status: 302 })
  downloader.on('https://cdn.example/304', { status: 304 })
  downloader.on('https://cdn.example/empty', { status: 200 })
  downloader.on('https://cdn.example/html', { body: Buffer.from('<html>') })
  downloader.on('https://cdn.example/huge', refuse('too_large', 'more than 100000 bytes'))
  downloader.on('https://cdn.example/lied', { body: Buffer.alloc(100_001) })
  downloader.on('https://cdn.example/inside', refuse('address_refused', '10.0.0.1 is not public'))
  downloader.on('https://cdn.example/bug', new TypeError('not an attempt error'))
  const expected: Record<string, RegExp> = {
    'not a url': /the address is not a URL/,
    'file:///etc/passwd': /begins with file:; expected https:/,
    [`https://cdn.example/${'x'.repeat(4096)}`]: /expected at most 4096/,
    'https://cdn.example/gone': /the server answered 404/,
    'https://cdn.example/moved': /the server answered 302/,
    'https://cdn.example/304': /the server answered 304/,
    'https://cdn.example/empty': /empty body/,
    'https://cdn.example/html': /is an HTML page/,
    'https://cdn.example/huge': /more than 100000 bytes/,
    'https://cdn.example/lied': /has 100001 bytes; expected at most 100000/,
    'https://cdn.example/inside': /not public/,
    'https://cdn.example/bug': /could not be downloaded/,
  }
  for (const [url, why] of Object.entries(expected)) {
    const outcome = await picture(url)
    assert.deepEqual({ ...outcome, why: '' }, { status: 'rejected', url, subject: 'avatar', why: '' })
    assert.match(whyOf(outcome), why)
  }
})

test('what may pass is tried again, and is a rejection when it does not', async (t) => {
  const { picture, downloader } = await openStage(t)
  const answers = [new AttemptError('timeout', 'no answer'), { status: 503 }, { body: body(0) }]
  downloader.on(URL_A, () => answers.shift()!)
  stored(await picture(URL_A))
  downloader.on(URL_B, { status: 429, headers: { 'retry-after': '0' } })
  assert.match(whyOf(await picture(URL_B)), /answered 429 \(3 tries\)/)
  assert.equal(downloader.asked.length, 6)
})

test('bytes that are no picture are decoded once', async (t) => {
  const { picture, downloader, store } = await openStage(t)
  for (const url of [URL_A, URL_B]) downloader.on(url, () => ({ body: body(0).subarray(0, 5_000) }))
  const first = whyOf(await picture(URL_A))
  const heads = store.calls.head
  assert.equal(whyOf(await picture(URL_B)), first)
  assert.equal(store.calls.head, heads)
})

test('at its bounds the stage makes downloads wait, by number and by bytes', async (t) => {
  const many = Array.from({ length: 8 }, (_, index) => `https://cdn.example/${index}`)
  const byNumber = await openStage(t, { inFlightMax: 3 })
  for (const [index, url] of many.entries()) byNumber.downloader.on(url, () => ({ body: body(index) }))
  for (const outcome of await Promise.all(many.map((url) => byNumber.picture(url)))) stored(outcome)
  assert.equal(byNumber.downloader.inFlightMost, 3)

  // Storing is held up: sources become variants, and both count. Room for one download at a time, then for none.
  const byBytes = await openStage(t, { bytesInFlightMax: 1_050_000 })
  const held = Promise.withResolvers<void>()
  byBytes.store.hold = held.promise
  for (const [index, url] of many.entries()) byBytes.downloader.on(url, () => ({ body: body(index) }))
  const asked = many.map((url) => byBytes.picture(url))
  await until(() => byBytes.stage.load.bytes > 50_000 && byBytes.downloader.inFlight === 0, 'full')
  assert.ok(
    byBytes.stage.load.inside < many.length && byBytes.stage.load.bytes < 1_100_000,
    JSON.stringify(byBytes.stage.load),
  )
  assert.equal(byBytes.downloader.inFlightMost, 1)
  held.resolve()
  for (const outcome of await Promise.all(asked)) stored(outcome)
  assert.deepEqual(byBytes.stage.load, { inside: 0, bytes: 0, waiting: 0 })
})

test('a store that is away, or has to be mended, holds pictures up and loses none', async (t) => {
  for (const failure of [
    new ServiceAwayError('store', 'away'),
    new MillraceError('STORE_FORBIDDEN', 'no rights'),
  ]) {
    const { stage, picture, downloader, store } = await openStage(t)
    for (const [index, url] of [URL_A, URL_B].entries()) downloader.on(url, () => ({ body: body(index) }))
    store.fails = failure
    const asked = [picture(URL_A), picture(URL_B)]
    await until(() => store.calls.head >= 6, 'several tries')
    assert.equal(stage.healthy, false)
    store.fails = undefined
    for (const outcome of await Promise.all(asked)) stored(outcome)
    assert.equal(stage.healthy, true)
  }
})

test('a caller who is aborted leaves at once, wherever its picture is, and the others go on', async (t) => {
  const { stage, picture, downloader, store } = await openStage(t)
  downloader.on(URL_A, () => ({ body: body(0) }))
  const reason = new Error('drain')
  const isReason = (error: unknown) => error === reason

  await assert.rejects(picture(URL_A, AbortSignal.abort(reason)), isReason)

  const control = new AbortController()
  const download = Promise.withResolvers<void>()
  downloader.hold = download.promise
  const leaving = picture(URL_A, control.signal)
  const staying = picture(URL_A)
  await until(() => downloader.inFlight === 1, 'downloading')
  control.abort(reason)
  await assert.rejects(leaving, isReason)
  store.fails = new ServiceAwayError('store', 'away')
  download.resolve()
  await until(() => store.calls.head > 2, 'waiting for the store')
  const last = new AbortController()
  const waiting = picture(URL_A, last.signal)
  last.abort(reason)
  await assert.rejects(waiting, isReason)
  store.fails = undefined
  stored(await staying)
  assert.deepEqual(stage.load, { inside: 0, bytes: 0, waiting: 0 })
})

test('stopping aborts what is under way, and what comes afterwards', async (t) => {
  const { stage, picture, downloader } = await openStage(t, { inFlightMax: 1 })
  downloader.hold = new Promise(() => {})
  const asked = [URL_A, URL_B].map((url) => assert.rejects(picture(url), { name: 'AbortError' }))
  await until(() => downloader.inFlight === 1, 'downloading')
  await stage.stop()
  await Promise.all(asked)
  await stage.stop()
  await assert.rejects(picture(URL_A), { name: 'AbortError' })
})
