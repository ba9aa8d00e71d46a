import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { onCall } from '../../grafana/on-call.ts'
import { need } from '../need.ts'
import { queriesOf } from '../telemetry/panels.ts'
import { watch } from '../telemetry/prometheus.ts'
import { Millrace } from './process.ts'

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-demo-'))
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10 }))
  return folder
}

test('the demo does the whole job on embedded parts, breaks no limit, and leaves its data to be asked', async (t) => {
  if (need(t, 'prometheus') === null) return
  const cwd = folderOf(t)
  const args = ['demo', '--creators', '25', '--port', '0', '--folder', 'out', '--stay']
  const demo = new Millrace(args, { cwd })
  t.after(() => demo.kill())
  const [, adminUrl = ''] = await demo.says(/admin +(http:\S+)/)
  const [lines] = await demo.says(/(?: +curl -s '\S+'\n){3}/)
  const curls = [...lines.matchAll(/'(\S+)'/g)].map(([, address = '']) => address)

  // A Prometheus watches the run; every query of the on-call dashboard gets an answer from it.
  const prometheus = await watch(t, { targets: [adminUrl] })
  const unanswered = new Map(
    queriesOf(onCall(), '2s')
      // What an annotation marks need not happen.
      .filter(({ panel }) => !panel.startsWith('annotation'))
      .map((query) => [`${query.panel}: ${query.expr}`, query.expr]),
  )
  const asked = unanswered.size
  let working = true
  void demo.says(/The admin page stays at/).then(() => {
    working = false
  })
  while (unanswered.size > 0) {
    // What nobody asked for at its time, it is asked for afterwards.
    const late = !working
    for (const [name, expr] of unanswered) {
      const asks = late ? `last_over_time((${expr})[5m:250ms])` : expr
      if ((await prometheus.query(asks)).length > 0) unanswered.delete(name)
    }
    if (late) break
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  assert.deepEqual([...unanswered.keys()], [])
  const answered = await Promise.all(
    curls.map(async (address) => {
      const reply = await fetch(address)
      return [reply.status, (await reply.text()).length > 50]
    }),
  )
  assert.deepEqual(answered, [
    [200, true],
    [200, true],
    [200, true],
  ])
  t.diagnostic(`all ${asked} queries of the dashboard returned data while the demo ran`)

  await demo.says(/The admin page stays at/)
  const { code, stdout, stderr } = await demo.stop()
  assert.equal(code, 0, stderr)
  assert.match(stdout, /^ *0 violations in all\.$/m)
  assert.match(stdout, /instagram +done +\d+/)
  assert.match(stdout, /youtube +done +\d+/)
  assert.match(stdout, /tiktok +done +\d+/)
  assert.match(stdout, /dead +not_found/)
  assert.match(stdout, /gained/)
  assert.ok(!stdout.includes('\u001b'), 'plain lines when it is no terminal')

  const results = readFileSync(join(cwd, 'out/millrace.results.ndjson'), 'utf8').trim().split('\n')
  assert.equal(results.length, 2 * 75 + 6)
  const picture = /(\/\S+full\.jpg)/.exec(stdout)?.[1]
  assert.ok(picture !== undefined && existsSync(picture))
  const query = new Millrace(
    ['query', '--data', 'out', '--json', "SELECT count() AS n FROM points FINAL WHERE metric = 'followers'"],
    { cwd },
  )
  const answer = await query.ended
  assert.equal(answer.code, 0, answer.stderr)
  assert.ok(Number((JSON.parse(answer.stdout) as { n: number | string }).n) > 100)
})

test('the demo leaves a folder alone that is not its own', async (t) => {
  const cwd = folderOf(t)
  writeFileSync(join(cwd, 'precious'), '')
  const { code, stderr } = await new Millrace(['demo', '--folder', cwd, '--port', '0'], { cwd }).ended
  assert.equal(code, 2)
  assert.match(stderr, /is no earlier demo/)
  assert.ok(existsSync(join(cwd, 'precious')))
})
