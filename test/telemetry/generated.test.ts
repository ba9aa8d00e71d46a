import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { dashboardFiles } from '../../grafana/dashboards.ts'
import { docFiles } from '../../scripts/docs.ts'

for (const { file, text } of [...docFiles(), ...dashboardFiles()]) {
  const name = file.pathname.split('/').slice(-2).join('/')
  test(`${name} is what the code makes`, async () => {
    assert.equal(
      await readFile(file, 'utf8'),
      text,
      'run `node scripts/docs.ts` and `node grafana/dashboards.ts`',
    )
  })
}
