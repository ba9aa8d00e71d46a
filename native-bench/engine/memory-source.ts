import type { Partition, Source, SourceHandlers } from '../../src/intake/source.ts'
import { job } from './work.ts'

const BATCH = 500
/** Made once and given out again and again, each time as another record. */
const JOBS = Array.from({ length: 10_000 }, (_, index) => job(index))

/** One partition without an end, from memory. Its records are there as soon as it is not paused. */
export function memorySource(topic: string): Source {
  const partition: Partition = { topic, partition: 0 }
  const epoch = 1
  let handlers: SourceHandlers | undefined
  let offset = 0
  let paused = false
  let next: NodeJS.Immediate | undefined
  const read = () => {
    if (paused || handlers === undefined) return
    const timestampMs = Date.now()
    const records = Array.from({ length: BATCH }, () => {
      const record = { ...partition, offset, timestampMs, headers: {}, ...JOBS[offset % JOBS.length]! }
      offset += 1
      return record
    })
    handlers.onRecords(partition, epoch, records, offset)
    next = setImmediate(read)
  }
  return {
    async start(given) {
      handlers = given
      handlers.onAssigned(partition, epoch)
      handlers.onRebalance('finished')
      next = setImmediate(read)
    },
    pause() {
      paused = true
    },
    resume() {
      paused = false
      clearImmediate(next)
      next = setImmediate(read)
    },
    commit: async (positions) => positions,
    lag: () => [],
    backlog: () => 0,
    exhausted: async () => false,
    async stop() {
      handlers = undefined
      clearImmediate(next)
    },
  }
}
