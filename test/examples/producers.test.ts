import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { ResultMessage } from '../../src/job/outcome.ts'
import { creatorIds } from '../../src/simulator/creators.ts'
import { DEFAULT_CREDENTIALS, PLAYED } from '../../src/simulator/options.ts'
import { readTopic } from '../daemon/kafka-topics.ts'
import { Millrace } from '../daemon/process.ts'
import { PARTITIONS, realKafka } from '../daemon/real-configuration.ts'
import { fetched, need } from '../need.ts'
import { readSchema, validator } from '../schemas/validator.ts'
import { command } from '../services/command.ts'
import { poll } from '../services/poll.ts'
import { pythonWith } from '../services/python.ts'

const examples = fileURLToPath(new URL('../../examples/', import.meta.url))
const requirements = readFileSync(join(examples, 'producer-python/requirements.txt'), 'utf8').trim()
const WITHIN_MS = 120_000

test('jobs of the producers in TypeScript, Python and shell are done, and stand where each other’s do', {
  timeout: 500_000,
}, async (t) => {
  const broker = need(t, 'kafka')
  const clickhouse = need(t, 'clickhouse')
  const kcat = need(t, 'kcat')
  if (broker === null || clickhouse === null || kcat === null) return
  const python = await fetched(t, () => pythonWith(requirements.replaceAll('\n', '-'), [requirements]))
  if (python === null) return
  const run = `producers${Date.now().toString(36)}`
  const folder = mkdtempSync(join(tmpdir(), 'millrace-producers-'))
  const millraces: Millrace[] = []
  t.after(async () => {
    await Promise.all(millraces.map((one) => one.kill()))
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
  })
  const start = (...args: string[]) => {
    const one = new Millrace(args, { cwd: folder })
    millraces.push(one)
    return one
  }
  const [upstream = ''] = await start('simulate', '--port', '0', '--limits', 'open').says(/http:\/\/[\d.:]+/)
  const platform = (name: (typeof PLAYED)[number]) => ({
    origin: `${upstream}/${name}`,
    private_origin: true,
    credentials: DEFAULT_CREDENTIALS[name],
  })
  writeFileSync(
    join(folder, 'millrace.yaml'),
    JSON.stringify({
      data: './data',
      kafka: realKafka(run, broker),
      clickhouse: { url: clickhouse, database: run },
      limits: { share: 1, cold_start: 'full' },
      platforms: Object.fromEntries(PLAYED.map((name) => [name, platform(name)])),
      images: { enabled: false },
      admin: { port: 0 },
    }),
  )
  const daemon = start('run')
  await daemon.says(/"msg":"millrace is running"/)

  const env = {
    KAFKA_BROKERS: broker,
    JOBS_TOPIC: `${run}.jobs`,
    RESULTS_TOPIC: `${run}.results`,
    KCAT: kcat,
  }
  const creators = creatorIds('tiktok', 1, 4)
  const typescript = join(examples, 'producer-typescript/publish.ts')
  const [printed, printedByPython] = await Promise.all([
    output(process.execPath, [typescript, 'tiktok', ...creators], env),
    output(python, [join(examples, 'producer-python/publish.py'), 'tiktok', ...creators], env),
    output('sh', [join(examples, 'producer-kcat/publish.sh'), 'tiktok', ...creators], env),
  ])

  // Two wait for the results of their own jobs.
  for (const lines of [printed, printedByPython]) {
    const own = resultsIn(lines)
    assert.deepEqual(own.map(({ creator_id }) => creator_id).sort(), [...creators].sort())
    for (const { status } of own) assert.equal(status, 'done')
  }
  // The third one's ids are made of where they stand.
  const results = await poll(
    async () => {
      const lines = await readTopic(kcat, broker, `${run}.results`)
      const all = resultsIn(lines.map(({ payload }) => payload))
      return new Set(all.map(({ job_id }) => job_id)).size >= 3 * creators.length ? all : undefined
    },
    { withinMs: WITHIN_MS, everyMs: 200, what: 'a result for every job' },
  )
  assert.equal(new Set(results.map(({ job_id }) => job_id)).size, 3 * creators.length)
  assert.deepEqual(
    results.filter(({ status }) => status !== 'done'),
    [],
  )
  const check = validator(readSchema('result.schema.json'))
  for (const result of results) assert.ok(check(result), JSON.stringify(check.errors))

  // Whoever wrote them, one creator's jobs are in one partition.
  const jobs = await readTopic(kcat, broker, `${run}.jobs`)
  const places = new Map(creators.map((creator) => [`tiktok:${creator}`, new Set<number>()]))
  for (const { key, partition } of jobs) places.get(key ?? '')!.add(partition)
  for (const [key, partitions] of places) assert.equal(partitions.size, 1, key)
  assert.ok(new Set([...places.values()].flatMap((one) => [...one])).size > 1, `of ${PARTITIONS}`)
  assert.equal((await daemon.stop()).code, 0)
})

async function output(program: string, args: string[], env: Record<string, string>): Promise<string[]> {
  const said = await command(program, args, { withinMs: WITHIN_MS, env })
  return said.split('\n').filter((line) => line !== '')
}

function resultsIn(lines: readonly string[]): ResultMessage[] {
  return lines.map((line) => JSON.parse(line) as ResultMessage)
}
