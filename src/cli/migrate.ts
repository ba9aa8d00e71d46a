import type { Config } from '../config/schema.ts'
import { openEngine } from '../parts/timeseries.ts'
import { openExisting } from '../timeseries/engine.ts'
import { migrate, planMigration, sqlOf } from '../timeseries/migrate.ts'
import { EXIT } from './exit.ts'
import type { Terminal } from './terminal.ts'

/**
 * `millrace migrate`: brings the schema up to date; says what it did. With `plan` it only prints the statements, as a text that
 * ClickHouse's own client takes, and creates nothing, not even the database.
 */
export async function migrateDatabase(
  config: Config,
  options: { readonly plan: boolean; readonly json: boolean },
  terminal: Terminal,
): Promise<number> {
  const { retention } = config.rows
  const print = (text: string) => terminal.stdout.write(`${text}\n`)
  const engine = openEngine(config)
  try {
    if (options.plan) {
      const open = await openExisting(engine)
      const plan = await planMigration(open ? engine : undefined, engine, { retention })
      if (options.json) {
        for (const step of plan.steps) print(JSON.stringify(step))
        return EXIT.done
      }
      const where = open ? `Database ${engine.database}` : `Database ${engine.database}, which is not there`
      const steps = plan.steps.length === 0 ? 'nothing to do' : `${plan.steps.length} to take`
      print(`-- ${where}: schema ${plan.version} of ${plan.newest}, ${steps}.`)
      terminal.stdout.write(sqlOf(plan.steps))
      return EXIT.done
    }
    await engine.open()
    const done = await migrate(engine, { retention })
    for (const name of done) print(options.json ? JSON.stringify({ name }) : `applied ${name}`)
    if (done.length === 0 && !options.json) print('nothing to do: the schema is up to date')
    return EXIT.done
  } finally {
    await engine.close()
  }
}
