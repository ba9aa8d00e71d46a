import { fstatSync } from 'node:fs'
import { SERVICE_VARIABLES, type ServiceName } from '../need.ts'
import { type Provided, provide, SERVICE_NAMES } from './provide.ts'
import { type Standing, tableOf } from './table.ts'

// `node test/services/serve.ts redis clickhouse …` (all, without a name): starts them, prints one `export NAME=value` line
// each on standard output, and keeps them until SIGINT, SIGTERM, or the end of its standard input if that is a pipe.
const asked = process.argv.slice(2)
const unknown = asked.filter((name) => !SERVICE_NAMES.includes(name as ServiceName))
if (unknown.length > 0) {
  console.error(`unknown: ${unknown.join(', ')}; expected some of: ${SERVICE_NAMES.join(', ')}`)
  process.exit(2)
}
const names = asked.length === 0 ? SERVICE_NAMES : (asked as ServiceName[])

const ended = new Promise<void>((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve())
  // `serve.ts &` has /dev/null there, which ends at once and says nothing about anybody's life.
  const input = fstatSync(0)
  if (input.isFIFO() || input.isSocket() || process.stdin.isTTY)
    process.stdin.resume().once('end', () => resolve())
})

const provided: Provided[] = []
const started = Promise.all(
  names.map(async (name): Promise<Standing> => {
    try {
      const service = await provide(name)
      provided.push(service)
      console.log(`export ${SERVICE_VARIABLES[name]}=${service.address}`)
      return { name, provided: service }
    } catch (error) {
      return { name, missing: (error as Error).message }
    }
  }),
)

const standings = await Promise.race([started, ended])
if (standings !== undefined) {
  console.error(tableOf(standings))
  if (standings.some((standing) => 'missing' in standing)) process.exitCode = 3
  if (provided.length > 0) await ended
}
await Promise.all(provided.map((service) => service.stop()))
process.exit()
