import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import callback from '../../examples/identity-check/callback.ts'
import identity from '../../examples/identity-check/identity-check.ts'
import { playRegister } from '../../examples/identity-check/register.ts'
import type { ResultMessage } from '../../src/job/outcome.ts'
import { Millrace } from '../daemon/process.ts'
import { jobOf, jsonReply, reasonOf, recordedContext } from './recorded-context.ts'

const { check } = identity.jobs
const person = { family_name: 'Doe', given_names: 'Jo', birth_date: '1990-01-31' }
const done = { check_id: 'c1', status: 'verified', score: 0.97, checked_at: '2026-11-21T10:00:00Z' }

test('orders a check, waits for it, and returns the verdict without the person', async () => {
  const { context, calls } = recordedContext(identity, {
    order: [{ check_id: 'c1', status: 'pending', poll_after_s: 0.01 }],
    status: [{ check_id: 'c1', status: 'pending', poll_after_s: 0.01 }, done],
  })
  const harvest = await check.run(jobOf(check, 'AB-1234', person), context)
  assert.deepEqual(calls[0]?.json, { reference: 'job-1', customer: 'AB-1234', ...person })
  assert.deepEqual(
    calls.map((call) => call.endpoint),
    ['order', 'status', 'status'],
  )
  assert.deepEqual(harvest.data, {
    customer: 'AB-1234',
    check_id: 'c1',
    verdict: 'verified',
    score: 0.97,
    checked_at: '2026-11-21T10:00:00Z',
  })
})

test('hands a check that takes longer than a job may wait on to a follow-up, which asks when it is time', async () => {
  const long = { check_id: 'c1', status: 'pending', poll_after_s: 1.5 }
  const begunMs = Date.now()
  const { context } = recordedContext(identity, { order: [long] })
  const handed = await check.run(
    jobOf(check, 'AB-1234', { ...person, wait_s_max: 1, callback: true }),
    context,
  )
  assert.deepEqual(handed.data, { customer: 'AB-1234', check_id: 'c1', verdict: null })
  const [next] = handed.followUps ?? []
  assert.equal(next?.job_type, 'verdict')
  assert.ok(!JSON.stringify(next).includes(person.family_name))

  const { verdict } = identity.jobs
  const { context: later, calls } = recordedContext(identity, {
    status: [{ ...long, poll_after_s: 0.01 }, done],
  })
  // With time enough: what looks later than its job waits hands on once more.
  const params = verdict.params.parse({ ...(next?.params as object), wait_s_max: 60 })
  const harvest = await verdict.run(jobOf(verdict, 'AB-1234', params), later)
  assert.ok(Date.now() >= begunMs + 1_500)
  assert.deepEqual(
    calls.map(({ path }) => path?.check_id),
    ['c1', 'c1'],
  )
  const { status, ...rest } = done
  assert.deepEqual(harvest.followUps, [
    { platform: 'identity_callback', job_type: 'deliver', params: { ...rest, verdict: status } },
  ])
})

test('delivers what a check hands it, and no answer is needed', async () => {
  const { deliver } = callback.jobs
  const params = {
    check_id: 'c1',
    verdict: 'verified',
    score: 0.97,
    checked_at: '2026-11-21T10:00:00Z',
  } as const
  const { context, calls } = recordedContext(callback, { deliver: [{}] })
  assert.deepEqual(await deliver.run(jobOf(deliver, 'AB-1234', params), context), {})
  assert.deepEqual(calls[0]?.json, { customer: 'AB-1234', ...params })
  assert.ok(callback.endpoints.deliver.response.safeParse(undefined).success)
})

test('the daemon orders once, polls, gets over trouble, delivers the verdict, and gives up what is wrong', async (t) => {
  const { server, orders, delivered } = playRegister({ looks: 3, pollAfterS: 0.5, trouble: true })
  const folder = mkdtempSync(join(tmpdir(), 'millrace-identity-'))
  let daemon: Millrace | undefined
  t.after(async () => {
    await daemon?.kill()
    server.closeAllConnections()
    server.close()
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const example = fileURLToPath(new URL('../../examples/identity-check/', import.meta.url))
  daemon = new Millrace(
    ['run', '--config', join(example, 'millrace.yaml'), '--input', join(example, 'jobs.ndjson')],
    {
      cwd: folder,
      env: {
        REGISTER_TOKEN: 'try',
        CALLBACK_TOKEN: 'try',
        MILLRACE_ADMIN__PORT: '0',
        // A delivery that is given up while this process stands still is made twice.
        MILLRACE_FETCH__READ_TIMEOUT: '120s',
        MILLRACE_FETCH__TIMEOUT: '300s',
        MILLRACE_PLATFORMS__IDENTITY__ORIGIN: origin,
        MILLRACE_PLATFORMS__IDENTITY_CALLBACK__ORIGIN: `${origin}/hooks`,
      },
    },
  )
  const { code, stderr } = await daemon.ended
  assert.equal(code, 0, stderr)
  const results = readFileSync(join(folder, 'millrace-data/millrace.results.ndjson'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as ResultMessage)
  const ended = (creator: string) =>
    results
      .filter((result) => result.creator_id === creator)
      .map(({ job_type, status, reason, data }) => [
        job_type,
        status,
        reason ?? (data as { verdict?: string })?.verdict,
      ])
  assert.deepEqual(ended('AB-1234'), [
    ['check', 'done', 'verified'],
    ['deliver', 'done', undefined],
  ])
  // On a busy machine the register may be asked for the verdict once more.
  const asked = ended('AB-1235')
  assert.deepEqual(asked[0], ['check', 'done', null])
  assert.deepEqual(asked.at(-1), ['verdict', 'done', 'verified'])
  for (const again of asked.slice(1, -1)) assert.deepEqual(again, ['verdict', 'done', null])
  assert.deepEqual(ended('AB-1236'), [['check', 'dead', 'invalid_params']])
  assert.deepEqual(ended('1237'), [['check', 'dead', 'invalid_params']])
  assert.equal(orders.size, 2)
  assert.equal(delivered.length, 1)
  assert.equal((delivered[0] as { customer?: string }).customer, 'AB-1234')
})

test('a retry orders with the same reference', async () => {
  const references = []
  for (const _attempt of [1, 2]) {
    const { context, calls } = recordedContext(identity, { order: [done] })
    await check.run(jobOf(check, 'AB-1234', person), context)
    references.push(calls[0]?.json)
  }
  assert.deepEqual(references[0], references[1])
})

test('reads what the register says in its own words', () => {
  const says = (type: string, more: object = {}) => ({ error: { type, message: 'm', ...more } })
  assert.equal(reasonOf(identity, jsonReply('order', 503, says('busy', { wait_s: 12 }))), 'rate_limited')
  assert.equal(
    identity.throttled?.(jsonReply('order', 503, says('busy', { wait_s: 12 })))?.retryAfterMs,
    12_000,
  )
  assert.equal(reasonOf(identity, jsonReply('order', 422, says('bad_order'))), 'invalid_params')
  assert.equal(reasonOf(identity, jsonReply('order', 401, says('token_expired'))), 'unauthorized')
  assert.equal(reasonOf(identity, jsonReply('order', 500, says('other'))), undefined)
})

test('normalises the customer reference, or says what one looks like', () => {
  assert.equal(identity.creatorId?.(' ab-1234 '), 'AB-1234')
  assert.throws(() => identity.creatorId?.('1234'), /expected a customer reference such as AB-1234/)
})
