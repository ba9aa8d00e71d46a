import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ChdbEngine } from '../../src/timeseries/chdb.ts'
import { ClickHouseEngine } from '../../src/timeseries/clickhouse.ts'
import { type Engine, execute } from '../../src/timeseries/engine.ts'
import { rowsContract } from '../contract/rows.ts'
import { need } from '../need.ts'

let server: Engine | undefined
rowsContract('a ClickHouse server', {
  async open(t) {
    const url = need(t, 'clickhouse')
    if (url === null) return null
    server ??= new ClickHouseEngine({ url, database: `test_${randomUUID().replaceAll('-', '')}` })
    await server.open()
    return server
  },
  async close() {
    if (server === undefined) return
    await execute(server, `DROP DATABASE IF EXISTS ${server.database} SYNC`)
    await server.close()
  },
})

let folder = ''
let embedded: Engine | undefined
rowsContract('the embedded engine', {
  async open() {
    folder ||= await mkdtemp(join(tmpdir(), 'millrace-rows-'))
    embedded ??= new ChdbEngine({ path: join(folder, 'data'), database: 'millrace' })
    await embedded.open()
    return embedded
  },
  async close() {
    await embedded?.close()
    await rm(folder, { recursive: true, force: true, maxRetries: 10 })
  },
})
