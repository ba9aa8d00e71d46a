import { join } from 'node:path'
import { startClickhouse } from '../services/clickhouse.ts'
import { startKafka } from '../services/kafka.ts'
import { findKcat } from '../services/kcat.ts'
import { startRedis } from '../services/redis.ts'
import type { Running } from '../services/running.ts'
import { findS3, startS3 } from '../services/s3.ts'
import { type Disk, mountSmallDisk, ProcessLimit, SmallDisk } from './full-disk.ts'

/** The services that daemons stand on, of one's own because they are going to be killed. */
export interface Parts extends AsyncDisposable {
  readonly kafka: Running
  readonly redis: Running
  readonly clickhouse: Running
  readonly s3: Running
  /** Where the store keeps its objects. */
  readonly disk: Disk
  /** The path of kcat. */
  readonly kcat: string
}

/** Starts them all; ends what was started when one does not start. */
export async function startParts(folder: string): Promise<Parts> {
  await using started = new AsyncDisposableStack()
  const { at: kcat } = await findKcat()
  // A container does not see our mounts.
  const small = (await findS3()).how === 'docker' ? null : mountSmallDisk(join(folder, 'disk'), DISK_SIZE)
  if (small !== null) started.defer(small.unmount)
  // The store last: it may have to be built, and is no use without the others.
  const starting = [
    startKafka(),
    // Every write is on disk before it is answered: what was granted is not forgotten by a SIGKILL.
    startRedis({ durable: true }),
    startClickhouse(),
    startS3(small === null ? {} : { data: small.folder }),
  ] as const
  for (const one of starting) one.then((running) => started.use(running)).catch(() => {})
  await Promise.allSettled(starting)
  const [kafka, redis, clickhouse, s3] = await Promise.all(starting)
  const disk = small === null ? new ProcessLimit(s3) : new SmallDisk(small.folder)
  const all = started.move()
  return { kafka, redis, clickhouse, s3, disk, kcat, [Symbol.asyncDispose]: () => all.disposeAsync() }
}

/** Room for 20,000 jobs, whose small pictures take one or two pages of 4 KiB each, and as much again. */
const DISK_SIZE = '384m'
