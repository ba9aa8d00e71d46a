import { int32, request, text } from './kafka-wire.ts'

const LIST_OFFSETS = 2
const LATEST = -1n
const CONSUMER = -1

/**
 * The high watermark of each of a topic's partitions, from a broker that leads them all: how many records were published,
 * as long as nothing is deleted. Rejects while the broker is away, or does not know the topic.
 */
export async function highWatermarks(broker: string, topic: string, partitions: number): Promise<number[]> {
  const [host = '', port] = broker.split(':')
  const asked = Array.from({ length: partitions }, (_, partition) => {
    const time = Buffer.alloc(8)
    time.writeBigInt64BE(LATEST)
    return Buffer.concat([int32(partition), time])
  })
  const body = Buffer.concat([int32(CONSUMER), int32(1), text(topic), int32(partitions), ...asked])
  const reply = await request({ host, port: Number(port) }, { key: LIST_OFFSETS, version: 1, body })
  // Correlation id, number of topics, the topic's name, number of partitions; then 22 bytes of each partition.
  let at = 8 + 2 + reply.readInt16BE(8) + 4
  const marks: number[] = new Array(partitions).fill(0)
  for (let i = 0; i < partitions; i++, at += 22) {
    const error = reply.readInt16BE(at + 4)
    if (error !== 0) throw new Error(`${topic} ${reply.readInt32BE(at)}: error code ${error}`)
    marks[reply.readInt32BE(at)] = Number(reply.readBigInt64BE(at + 14))
  }
  return marks
}
