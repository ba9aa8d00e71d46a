import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { type App, type Context, clientOf } from '../context.ts'
import { eventSchema } from '../events/event.ts'
import { ApiProblem } from '../problem.ts'
import { creatorId, platformName } from '../schemas.ts'
import { type EventFilter, listen, type Outlet } from '../stream/listener.ts'
import { socketOutlet, sseOutlet } from '../stream/outlets.ts'

const eventId = z
  .string()
  .regex(/^\d{1,15}-\d{1,15}$/)
  .describe('The id of the last event that was had: what came since then is told first.')

const streamQuery = z.strictObject({
  platform: platformName.optional(),
  creator_id: creatorId.optional(),
  kind: z.enum(['snapshot', 'job']).optional(),
  status: z.enum(['done', 'skipped', 'dead']).optional(),
  last_event_id: eventId.optional(),
})

export const STREAM = '/v1/stream'

/** Of one client, so that none takes the places of all. */
const STREAMS_OF_CLIENT_MAX = 20

/** `/v1/stream`: new snapshots and finished jobs as they come, as server-sent events or over a WebSocket. Returns what ends all. */
export function streamRoute(app: App, context: Context): { endAll(): void } {
  const { events, metrics, streamClientsMax } = context
  const open = new Map<Outlet, string>()

  const filterOf = (query: z.output<typeof streamQuery>): EventFilter => {
    const { last_event_id: _last, ...filter } = query
    const { platform, creator_id } = filter
    if (creator_id === undefined || platform === undefined) return filter
    return { ...filter, creator_id: context.normalise(platform, creator_id) }
  }
  const admit = (client: string) => {
    const ofClient = [...open.values()].filter((name) => name === client).length
    if (ofClient >= STREAMS_OF_CLIENT_MAX) {
      throw new ApiProblem(
        'too_many_queries',
        `You have ${ofClient} streams open, as many as one client may.`,
        {
          headers: { 'retry-after': '10' },
        },
      )
    }
    if (open.size >= streamClientsMax)
      throw new ApiProblem('unavailable', 'As many listen as may.', { headers: { 'retry-after': '10' } })
  }
  const connect = (request: FastifyRequest, outlet: Outlet, query: z.output<typeof streamQuery>) => {
    open.set(outlet, clientOf(request))
    metrics.api_stream_clients.set(open.size)
    const header = request.headers['last-event-id']
    const last = query.last_event_id ?? (eventId.safeParse(header).success ? String(header) : undefined)
    const stop = listen(events, filterOf(query), outlet, last)
    return () => {
      stop()
      open.delete(outlet)
      metrics.api_stream_clients.set(open.size)
    }
  }

  app.route({
    method: 'GET',
    url: STREAM,
    exposeHeadRoute: false,
    config: { role: 'viewer' },
    schema: {
      operationId: 'listen',
      summary: 'New snapshots and finished jobs as they come: server-sent events, or a WebSocket',
      description:
        'The data of each event is an `Event`. `Last-Event-ID` (or `last_event_id`) replays what was missed in the last minutes; ' +
        'an event `gap` says that more was missed than is kept.',
      querystring: streamQuery,
      headers: z.object({ 'last-event-id': z.string().optional() }),
      response: { 200: { content: { 'text/event-stream': { schema: eventSchema } } } },
    },
    handler: (request, reply) => {
      admit(clientOf(request))
      reply.hijack()
      const headers = Object.fromEntries(
        Object.entries(reply.getHeaders()).map(([name, value]) => [name, String(value)]),
      )
      const outlet = sseOutlet(reply.raw, headers)
      reply.raw.once('close', connect(request, outlet, request.query))
    },
    wsHandler: (socket, request) => {
      socket.on('error', () => socket.terminate())
      try {
        admit(clientOf(request))
      } catch (error) {
        return socket.close(1013, error instanceof ApiProblem ? error.code : 'internal')
      }
      // Nothing is expected of it.
      socket.on('message', () => socket.close(1008, 'nothing is taken here'))
      socket.once(
        'close',
        connect(request, socketOutlet(socket), request.query as z.output<typeof streamQuery>),
      )
    },
  })

  return {
    endAll: () => {
      for (const outlet of open.keys()) outlet.end()
    },
  }
}
