import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

export interface Reply {
  readonly status: number
  /** What `x-cache` said, or an empty text. */
  readonly state: string
  /** Of the body. */
  readonly bytes: number
}

const HEAD_END = '\r\n\r\n'

/**
 * One kept connection that asks one question at a time, and understands no more than it needs to: on a machine of two cores what the
 * users cost is taken from what they ask. Bodies have a length; a chunked one is an error.
 */
export class Connection {
  readonly #origin: URL
  #socket: Socket | undefined

  constructor(origin: string) {
    this.#origin = new URL(origin)
  }

  /** Resolves when the whole answer is there. Rejects when the connection is lost or refused; the next question opens another. */
  async get(path: string): Promise<Reply> {
    const socket = this.#socket ?? (await this.#open())
    const { promise, resolve, reject } = Promise.withResolvers<Reply>()
    let head = ''
    let missing = -1
    const onData = (chunk: Buffer) => {
      if (missing === -1) {
        head += chunk.toString('latin1')
        const end = head.indexOf(HEAD_END)
        if (end === -1) return
        const length = lengthIn(head)
        if (Number.isNaN(length)) return reject(new Error('an answer without a length'))
        missing = length - (head.length - end - HEAD_END.length)
      } else missing -= chunk.length
      if (missing <= 0) resolve(replyOf(head))
    }
    const onLost = (error?: Error) => reject(error ?? new Error('the connection was closed'))
    socket.on('data', onData).once('error', onLost).once('close', onLost)
    socket.write(`GET ${path} HTTP/1.1\r\nhost: ${this.#origin.host}\r\naccept-encoding: gzip\r\n\r\n`)
    try {
      return await promise
    } catch (error) {
      this.close()
      throw error
    } finally {
      socket.off('data', onData).off('error', onLost).off('close', onLost)
    }
  }

  close(): void {
    this.#socket?.destroy()
    this.#socket = undefined
  }

  async #open(): Promise<Socket> {
    const socket = connect(Number(this.#origin.port), this.#origin.hostname)
    await once(socket, 'connect')
    // While it thinks nobody listens; a connection that is lost then is noticed by the next question.
    socket.setNoDelay().on('error', () => {})
    socket.on('close', () => {
      if (this.#socket === socket) this.#socket = undefined
    })
    this.#socket = socket
    return socket
  }
}

function lengthIn(head: string): number {
  return Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1])
}

function replyOf(head: string): Reply {
  return {
    status: Number(head.slice(9, 12)),
    state: /\r\nx-cache: (\w+)/i.exec(head)?.[1] ?? '',
    bytes: lengthIn(head),
  }
}
