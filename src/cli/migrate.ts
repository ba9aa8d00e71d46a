import type { Config } from '../config/schema.ts'
import { openEngine } from '../parts/timeseries.ts'
import { migrate } from '../timeseries/migrate.ts'
import { EXIT } from './exit.ts'
import type { Terminal } from './terminal.ts'

/** `millrace migrate`: brings the schema up to date; says what it did. */
export async function migrateDatabase(config: Config, terminal: Terminal): Promise<number> {
  const engine = openEngine(config)
  try {
    await engine.open()
    const applied = await migrate(engine)
    for (const file of applied) terminal.stdout.write(`applied ${file}\n`)
    if (applied.length === 0) terminal.stdout.write('nothing to do: the schema is up to date\n')
    return EXIT.done
  } finally {
    await engine.close()
  }
}
