import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { need } from '../need.ts'
import { startClickhouse } from '../services/clickhouse.ts'

const ROOT = new URL('../../', import.meta.url)
const FILE = 'deploy/compose/clickhouse.xml'

test('the ClickHouse of docker-compose.yml keeps room on its disk for the merges that run', async (t) => {
  const compose = parse(readFileSync(new URL('docker-compose.yml', ROOT), 'utf8'), { merge: true }) as {
    services: { clickhouse: { volumes: string[] } }
  }
  const mounted = `./${FILE}:/etc/clickhouse-server/config.d/millrace.xml:ro`
  assert.ok(compose.services.clickhouse.volumes.includes(mounted))
  if (need(t, 'clickhouse') === null) return
  await using server = await startClickhouse({ args: ['--config-file', fileURLToPath(new URL(FILE, ROOT))] })
  if (server.found.how === 'docker') return t.skip('a container takes no arguments here')
  const reply = await fetch(`${server.address}/?query=SELECT+name,keep_free_space+FROM+system.disks`)
  assert.equal(await reply.text(), `default\t${2 ** 30}\n`)
})
