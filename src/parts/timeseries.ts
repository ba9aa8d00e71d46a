import { join } from 'node:path'
import type { Config } from '../config/schema.ts'
import { ChdbEngine } from '../timeseries/chdb.ts'
import { ClickHouseEngine } from '../timeseries/clickhouse.ts'
import type { Engine } from '../timeseries/engine.ts'
import { tlsOf } from './kafka.ts'

/** The database of the embedded engine; the same name as a server's by default, so that queries work on both. */
const DATABASE = 'millrace'

/** The ClickHouse server that the configuration names, or the embedded engine in the folder `data`. No I/O. */
export function openEngine(config: Config): Engine {
  const section = config.clickhouse
  if (section === undefined)
    return new ChdbEngine({ path: join(config.data, 'clickhouse'), database: DATABASE })
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
