import { int32, request, text } from './kafka-wire.ts'

const FIND_COORDINATOR = 10
const OFFSET_FETCH = 9

/**
 * Whether the broker holds its consumer groups in memory: it names itself as the coordinator of a group and answers for the
 * group's offsets without an error. The first question also makes it create the topic that offsets are kept in. Two
 * requests of the Kafka protocol, written out: a client library would reconnect and warn while the broker is starting.
 */
export async function coordinatorAnswers(address: { host: string; port: number }): Promise<boolean> {
  const group = text('millrace-test-warm-up')
  const found = await request(address, {
    key: FIND_COORDINATOR,
    version: 1,
    body: Buffer.concat([group, Buffer.from([0])]),
  })
  // After the correlation id: throttle time (4 bytes), error code.
  if (found.length < 10 || found.readInt16BE(8) !== 0) return false
  // A null array of topics (-1) asks for all of them; the error code is the last field.
  const fetched = await request(address, {
    key: OFFSET_FETCH,
    version: 2,
    body: Buffer.concat([group, int32(-1)]),
  })
  return fetched.length >= 10 && fetched.readInt16BE(fetched.length - 2) === 0
}
