import { MillraceError } from '../job/errors.ts'
import type { PictureRow, PictureRows } from '../job/picture.ts'
import { type Engine, select } from './engine.ts'

/** Below the 60 s after which the client gives a silent server up. */
const EXECUTION_TIME_S = 55

/** The `pictures` rows as a reader sees them: what a newer row of the same subject has replaced does not count. */
export class StoredPictureRows implements PictureRows {
  readonly #engine: Engine

  constructor(engine: Engine) {
    this.#engine = engine
  }

  /** Rejects with MillraceError `PICTURES_NO_TABLE` when the database is not one of ours. */
  async count(signal: AbortSignal): Promise<number> {
    const { database } = this.#engine
    const [table] = await select<{ tables: number | string }>(
      this.#engine,
      `SELECT count() AS tables FROM system.tables WHERE database = {database:String} AND name = 'pictures'`,
      { database },
      { signal },
    )
    if (Number(table?.tables ?? 0) === 0) {
      throw new MillraceError(
        'PICTURES_NO_TABLE',
        `database ${database} has no table of pictures: is it the one that the daemon writes to?`,
      )
    }
    const [row] = await select<{ n: number | string }>(
      this.#engine,
      'SELECT count() AS n FROM pictures FINAL',
      {},
      { signal, executionTimeS: EXECUTION_TIME_S },
    )
    return Number(row?.n ?? 0)
  }

  /**
   * One row for each key of the range, the newest where several show the same picture. Held in memory whole. Reads the whole
   * table, which is not ordered by key: ask few times.
   */
  async between(
    { from, below }: { readonly from: string; readonly below: string },
    signal: AbortSignal,
  ): Promise<Map<string, PictureRow>> {
    const rows = await select<{
      key: string
      of: readonly [string, string, string, string, number | string, number | string, number | string]
    }>(
      this.#engine,
      `SELECT key, argMax((platform, creator_id, subject, variant, width, height, bytes), ts) AS of
      FROM pictures FINAL WHERE key >= {from:String} AND key < {below:String} GROUP BY key`,
      { from, below },
      { signal, executionTimeS: EXECUTION_TIME_S },
    )
    return new Map(
      rows.map(({ key, of: [platform, creatorId, subject, variant, width, height, bytes] }) => [
        key,
        {
          ...{ key, platform, creatorId, subject, variant },
          ...{ width: Number(width), height: Number(height), bytes: Number(bytes) },
        },
      ]),
    )
  }
}
