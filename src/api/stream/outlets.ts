import type { ServerResponse } from 'node:http'
import type { WebSocket } from 'ws'
import type { StoredEvent } from '../events/event.ts'
import type { Outlet } from './listener.ts'

/** Long enough to be cheap, short enough for proxies that end what is silent for a minute. */
const BEAT_MS = 15_000
/** For what is still on its way to a client whose stream is ended. */
const END_MS = 2_000

/** Server-sent events over a response whose headers are sent here. */
export function sseOutlet(response: ServerResponse, headers: Record<string, string>): Outlet {
  response.writeHead(200, {
    ...headers,
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
  })
  response.write('retry: 1000\n\n')
  const beat = setInterval(() => response.write(': still here\n\n'), BEAT_MS)
  response.once('close', () => clearInterval(beat))
  return {
    event: ({ id, event }: StoredEvent) => {
      response.write(`id: ${id}\nevent: ${event.kind}\ndata: ${JSON.stringify(event)}\n\n`)
    },
    gap: () => {
      response.write('event: gap\ndata: {"kind":"gap"}\n\n')
    },
    get backlogBytes() {
      return response.writableLength
    },
    end: () => {
      response.end()
      // Who does not read would keep its place for ever.
      const forced = setTimeout(() => response.destroy(), END_MS)
      response.once('close', () => clearTimeout(forced))
    },
  }
}

/** The same over a WebSocket: one JSON object a message, with its id. */
export function socketOutlet(socket: WebSocket): Outlet {
  const beat = setInterval(() => socket.ping(), BEAT_MS)
  socket.once('close', () => clearInterval(beat))
  return {
    event: ({ id, event }: StoredEvent) => socket.send(JSON.stringify({ id, ...event })),
    gap: () => socket.send('{"kind":"gap"}'),
    get backlogBytes() {
      return socket.bufferedAmount
    },
    end: () => socket.close(1013, 'try again'),
  }
}
