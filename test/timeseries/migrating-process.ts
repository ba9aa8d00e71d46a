import { once } from 'node:events'
import { ClickHouseEngine } from '../../src/timeseries/clickhouse.ts'
import type { Engine } from '../../src/timeseries/engine.ts'
import { migrate } from '../../src/timeseries/migrate.ts'

// A daemon's start as far as its schema: <url> <database> <statements>. Says `open`, migrates when it is told something, and ends;
// by SIGKILL after so many statements.
const [url, database, lifetime] = process.argv.slice(2)
if (url === undefined || database === undefined || lifetime === undefined)
  throw new Error('expected the arguments <url> <database> <statements>')
let left = Number(lifetime)

const engine = new ClickHouseEngine({ url, database })
await engine.open()
process.stdout.write('open\n')
await once(process.stdin, 'data')
process.stdin.destroy()
const command: Engine['write']['command'] = async (params) => {
  const answer = await engine.write.command(params)
  left -= 1
  if (left === 0) process.kill(process.pid, 'SIGKILL')
  return answer
}
const write = new Proxy(engine.write, {
  get: (client, key) => (key === 'command' ? command : Reflect.get(client, key)),
})
await migrate(new Proxy(engine, { get: (it, key) => (key === 'write' ? write : Reflect.get(it, key, it)) }))
await engine.close()
