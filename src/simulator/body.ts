import type { IncomingMessage, ServerResponse } from 'node:http'

const BODY_BYTES_MAX = 64 * 1024

/** Reads a small body. Either `done` or `givenUp` is called, once. */
export function readBody(
  request: IncomingMessage,
  response: ServerResponse,
  done: (body: string) => void,
  givenUp: () => void,
): void {
  const chunks: Buffer[] = []
  let bytes = 0
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes <= BODY_BYTES_MAX) chunks.push(chunk)
    else if (!response.headersSent) response.writeHead(413).end(() => request.destroy())
  })
  let whole = false
  request.once('end', () => {
    whole = bytes <= BODY_BYTES_MAX
    if (whole) done(Buffer.concat(chunks).toString('utf8'))
  })
  request.once('close', () => {
    if (!whole) givenUp()
  })
  request.on('error', () => response.destroy())
}
