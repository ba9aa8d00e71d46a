import { type Engine, execute } from '../../src/timeseries/engine.ts'
import { cpuMsOf } from './server-cpu.ts'

export interface RefreshCost {
  readonly what: string
  readonly wallMs: number
  /** Of the server's process, all threads; NaN when its id is not known. */
  readonly cpuMs: number
}

/** Summing every day every minute, as platform_daily did before migration 0007. */
const EVERY_DAY = `SELECT d.day AS day, d.platform AS platform, d.metric AS metric, count() AS creators, sum(d.value) AS total
FROM points_daily AS d FINAL GROUP BY day, platform, metric
SETTINGS max_execution_time = 300, do_not_merge_across_partitions_select_final = 1`

async function measure(
  what: string,
  pid: number | undefined,
  run: () => Promise<void>,
): Promise<RefreshCost> {
  const cpu = () => (pid === undefined ? Promise.resolve(Number.NaN) : cpuMsOf(pid))
  const before = await cpu()
  const startedMs = performance.now()
  await run()
  return { what, wallMs: performance.now() - startedMs, cpuMs: (await cpu()) - before }
}

/** What the server spends on its views, with nothing else to do. Views and merges must be stopped. */
export async function refreshCosts(engine: Engine, pid: number | undefined): Promise<RefreshCost[]> {
  const refresh = async (view: string) => {
    await execute(engine, `SYSTEM START VIEW ${view}`)
    await execute(engine, `SYSTEM REFRESH VIEW ${view}`)
    await execute(engine, `SYSTEM WAIT VIEW ${view}`)
    await execute(engine, `SYSTEM STOP VIEW ${view}`)
  }
  const write = (day: string) =>
    execute(
      engine,
      `INSERT INTO points (ts, platform, metric, creator_id, value, observed_at)
      SELECT ts, platform, metric, creator_id, value, observed_at FROM points
      WHERE toDate(ts) = ${day} AND creator_id < '2' SETTINGS max_execution_time = 300`,
    )
  /** As if all that was written had been written long ago. */
  const settle = async () => {
    await execute(engine, 'TRUNCATE TABLE days_written')
    await execute(
      engine,
      `INSERT INTO days_written SELECT platform, metric, day, now64(3) - INTERVAL 5 MINUTE FROM platform_totals FINAL`,
    )
  }
  const costs: RefreshCost[] = []
  costs.push(
    await measure('every day summed, as before migration 0007', pid, () =>
      execute(engine, `${EVERY_DAY} FORMAT Null`),
    ),
  )
  await execute(engine, 'TRUNCATE TABLE platform_totals')
  for (let n = 1; n <= 2; n += 1) {
    costs.push(
      await measure('platform_totals_mv, nothing counted yet', pid, () => refresh('platform_totals_mv')),
    )
  }
  await settle()
  costs.push(await measure('platform_totals_mv, nothing written', pid, () => refresh('platform_totals_mv')))
  await write('today()')
  costs.push(await measure('platform_totals_mv, today written', pid, () => refresh('platform_totals_mv')))
  await write('today() - 60')
  costs.push(
    await measure('platform_totals_mv, today and a day two months ago written', pid, () =>
      refresh('platform_totals_mv'),
    ),
  )
  costs.push(await measure('growth_7d', pid, () => refresh('growth_7d')))
  return costs
}
