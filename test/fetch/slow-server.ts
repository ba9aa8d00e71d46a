/**
 * An upstream in a process of its own that answers nobody before it holds as many requests as it was told to. Writes a file, when
 * it was told of one, once its replies are out.
 */
import { writeFileSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

const wanted = Number(process.argv[2])
const marker = process.argv[3]
const held: ServerResponse[] = []
const body = JSON.stringify({ text: 'x'.repeat(1_000) })

const server = createServer((_request, response) => {
  held.push(response)
  if (held.length < wanted) return
  process.send?.({ held: held.length })
})
process.on('message', () => {
  const replies = held.splice(0)
  let left = replies.length
  for (const response of replies) {
    response.end(body, () => {
      left -= 1
      if (left === 0 && marker !== undefined) writeFileSync(marker, '')
    })
  }
})
process.once('disconnect', () => process.exit())
server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 }, () => {
  process.send?.({ port: (server.address() as AddressInfo).port })
})
