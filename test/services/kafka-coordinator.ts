import { connect } from 'node:net'

const FIND_COORDINATOR = 10
const OFFSET_FETCH = 9
const ANSWER_WITHIN_MS = 3_000

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

/** The reply without its length, beginning with the correlation id. */
function request(
  address: { host: string; port: number },
  message: { key: number; version: number; body: Buffer },
): Promise<Buffer> {
  const head = Buffer.alloc(8)
  head.writeInt16BE(message.key, 0)
  head.writeInt16BE(message.version, 2)
  const payload = Buffer.concat([head, text('millrace-test-runner'), message.body])
  return new Promise((resolve, reject) => {
    const socket = connect(address)
    const chunks: Buffer[] = []
    socket.setTimeout(ANSWER_WITHIN_MS, () =>
      socket.destroy(new Error(`no answer within ${ANSWER_WITHIN_MS} ms`)),
    )
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('the broker closed the connection')))
    socket.on('data', (chunk) => {
      chunks.push(chunk)
      const reply = Buffer.concat(chunks)
      if (reply.length < 4 || reply.length < 4 + reply.readInt32BE(0)) return
      resolve(reply.subarray(4))
      socket.destroy()
    })
    socket.write(Buffer.concat([int32(payload.length), payload]))
  })
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'utf8')
  const length = Buffer.alloc(2)
  length.writeInt16BE(bytes.length)
  return Buffer.concat([length, bytes])
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}
