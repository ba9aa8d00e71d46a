import { connect } from 'node:net'

const ANSWER_WITHIN_MS = 10_000

/**
 * One request of the Kafka protocol on a connection of its own, written out: a client library would reconnect, retry and warn
 * while a broker is away. Resolves with the reply without its length, beginning with the correlation id.
 */
export function request(
  address: { host: string; port: number },
  message: { key: number; version: number; body: Buffer },
): Promise<Buffer> {
  const head = Buffer.alloc(8)
  head.writeInt16BE(message.key, 0)
  head.writeInt16BE(message.version, 2)
  const payload = Buffer.concat([head, text('millrace-test'), message.body])
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

/** A string of the protocol: its length in two bytes, then UTF-8. */
export function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'utf8')
  const length = Buffer.alloc(2)
  length.writeInt16BE(bytes.length)
  return Buffer.concat([length, bytes])
}

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}
