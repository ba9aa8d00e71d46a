import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Config } from '../config/schema.ts'
import { MillraceError } from '../job/errors.ts'
import { ChdbEngine } from '../timeseries/chdb.ts'
import { ClickHouseEngine } from '../timeseries/clickhouse.ts'
import type { Engine } from '../timeseries/engine.ts'
import { tlsOf } from './kafka.ts'

/** The database of the embedded engine; the same name as a server's by default, so that queries work on both. */
const DATABASE = 'millrace'

/** The folder of the embedded engine. */
function databaseFolderOf(config: Config): string {
  return join(config.data, 'clickhouse')
}

/**
 * For commands that only look at what is there: the embedded engine creates its folder when it is opened, and an empty database in a
 * wrong folder would look like a true answer. Throws MillraceError `NO_DATABASE`.
 */
export function requireDatabase(config: Config): void {
  if (config.clickhouse !== undefined || existsSync(databaseFolderOf(config))) return
  throw new MillraceError(
    'NO_DATABASE',
    `data=${config.data}: there is no database in ${resolve(databaseFolderOf(config))}; expected a folder that a daemon has worked in: ` +
      'go to where it runs, or name its configuration with --config.',
    { kind: 'usage' },
  )
}

/** The ClickHouse server that the configuration names, or the embedded engine in the folder `data`. No I/O. */
export function openEngine(config: Config): Engine {
  const section = config.clickhouse
  if (section === undefined) return new ChdbEngine({ path: databaseFolderOf(config), database: DATABASE })
  const { url, username, password, database, cluster } = section
  const tls = tlsOf(section.tls, 'clickhouse.tls')
  if (typeof tls === 'boolean' || tls.ca === undefined)
    return new ClickHouseEngine({ url, username, password, database, cluster })
  const { ca, cert, key } = tls
  const pem = {
    ca: Buffer.from(ca),
    ...(cert === undefined ? {} : { cert: Buffer.from(cert) }),
    ...(key === undefined ? {} : { key: Buffer.from(key) }),
  }
  return new ClickHouseEngine({ url, username, password, database, cluster, tls: pem })
}
