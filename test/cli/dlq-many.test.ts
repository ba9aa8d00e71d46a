import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Millrace } from '../daemon/process.ts'
import { deadLetters, openRig } from '../dead-letters/rig.ts'

const LETTERS = 5_000
const BATCH = 250
const VALUE_BYTES = 40_000

/** Makes a process say at its end how much memory it ever had, in KiB. */
const WATCHED = `--import=data:text/javascript,process.on('exit',()=>console.error('rss='+process.resourceUsage().maxRSS))`

for (const kind of ['kafka', 'files'] as const) {
  test(`5,000 dead letters on ${kind} are listed in seconds and in the memory of a few`, async (t) => {
    const rig = await openRig(t, kind)
    if (rig === undefined) return
    const list = async () => {
      const command = new Millrace(['dlq', 'list', '--json', '--config', rig.config], {
        env: { NODE_OPTIONS: WATCHED },
      })
      t.after(() => command.kill())
      const startedMs = performance.now()
      const { code, stdout, stderr } = await command.ended
      assert.equal(code, 0, stderr)
      const counts = stdout
        .trimEnd()
        .split('\n')
        .map((line) => (JSON.parse(line) as { count: number }).count)
      const rssMb = Number(/rss=(\d+)/.exec(stderr)?.[1]) / 1024
      return { count: counts.reduce((sum, one) => sum + one), tookMs: performance.now() - startedMs, rssMb }
    }
    const fill = 'x'.repeat(VALUE_BYTES)
    const bury = async (from: number, count: number) =>
      await rig.publish(
        rig.dead,
        deadLetters(
          rig.jobs,
          Array.from({ length: count }, (_, index) => ({
            reason: index % 2 === 0 ? ('timeout' as const) : ('not_found' as const),
            offset: from + index,
            fields: { params: { fill } },
          })),
        ),
      )
    await bury(0, 10)
    const few = await list()
    for (let from = 10; from < LETTERS; from += BATCH) await bury(from, Math.min(BATCH, LETTERS - from))
    const all = await list()
    t.diagnostic(
      `${few.count}: ${Math.round(few.tookMs)} ms, ${Math.round(few.rssMb)} MB; ` +
        `${all.count} of ${VALUE_BYTES / 1000} kB: ${Math.round(all.tookMs)} ms, ${Math.round(all.rssMb)} MB`,
    )
    assert.equal(all.count, LETTERS)
    // They are 200 MB; what a fetch brings and what the collector has not come to yet are some tens.
    assert.ok(all.rssMb < few.rssMb + 100, `${few.rssMb} MB with 10, ${all.rssMb} MB with all`)
  })
}
