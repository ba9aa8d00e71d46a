import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Millrace } from '../daemon/process.ts'

const job = (creator: string) =>
  `${JSON.stringify({ platform: 'youtube', creator_id: creator, job_type: 'nothing' })}\n`

for (const [what, args] of [
  ['is the jobs', ['run', '--input', '-']],
  ['is left alone when jobs come from a file', ['run', '--input', 'jobs.ndjson']],
] as const) {
  test(`what is piped into a daemon with the embedded engine ${what}, never rows`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'millrace-stdin-'))
    writeFileSync(join(folder, 'jobs.ndjson'), job('@of-the-file'))
    const millrace = new Millrace([...args], {
      cwd: folder,
      env: { MILLRACE_ADMIN__PORT: '0' },
      stdin: `${job('@piped')}${'not a job\n'.repeat(500)}${job('@last')}`,
    })
    t.after(async () => {
      await millrace.kill()
      rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
    })
    const { code, stderr } = await millrace.ended
    assert.equal(code, 0, stderr)
    const results = readFileSync(join(folder, 'millrace-data/millrace.results.ndjson'), 'utf8')
      .trim()
      .split('\n')
    const creators = results.map((line) => (JSON.parse(line) as { creator_id: string }).creator_id)
    const expected = args[2] === '-' ? ['@last', '@piped', ...Array<string>(500).fill('')] : ['@of-the-file']
    assert.deepEqual(creators.sort(), expected.sort())
  })
}
