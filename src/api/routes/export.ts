import { z } from 'zod'
import { type App, type Context, clientOf } from '../context.ts'
import { ApiProblem } from '../problem.ts'
import { DATASETS, exported, FORMATS, type Format, hasMetric } from '../queries/export.ts'
import { creatorId, instant, platformName } from '../schemas.ts'

/** `/v1/export`: any amount of rows, streamed. */
export function exportRoute(app: App, context: Context): void {
  app.get(
    '/v1/export',
    {
      exposeHeadRoute: false,
      config: { role: 'viewer' },
      schema: {
        operationId: 'export',
        summary: 'All rows of a dataset as NDJSON, CSV or Parquet, streamed',
        description: 'A reply that breaks off is not whole: the query failed on its way.',
        querystring: z.strictObject({
          what: z.enum(DATASETS),
          format: z.enum(Object.keys(FORMATS) as [Format, ...Format[]]).default('ndjson'),
          platform: platformName.optional(),
          creator_id: creatorId.optional().describe('Needs `platform`.'),
          metric: z
            .string()
            .regex(/^[a-z][a-z0-9_]{0,63}$/)
            .optional()
            .describe('Of points and daily.'),
          from: instant.optional(),
          to: instant.optional(),
        }),
        response: {
          200: {
            content: Object.fromEntries(
              Object.values(FORMATS).map(({ type }) => [type.split(';')[0], { schema: z.string() }]),
            ),
          },
        },
      },
    },
    async (request, reply) => {
      const { what, format, platform, creator_id, metric, from, to } = request.query
      if (creator_id !== undefined && platform === undefined)
        refuse('creator_id', 'expected `platform` beside it')
      if (metric !== undefined && !hasMetric(what)) refuse('metric', `${what} has none`)
      const leave = context.fairness.enterExport(clientOf(request))
      try {
        const stream = await exported(context.engine, {
          ...{ what, format, platform, metric, signal: request.left, timeoutMs: context.exportTimeoutMs },
          creatorId: creator_id === undefined ? undefined : context.normalise(platform ?? '', creator_id),
          fromMs: msOf('from', from),
          toMs: msOf('to', to),
        })
        // Who stops reading, or reads drop by drop, would keep its place for ever: while it waits, our side does not see that
        // the engine has given the query up.
        const { exportTimeoutMs, exportStallMs } = context
        const late = setTimeout(() => stream.destroy(new Error('it took too long')), exportTimeoutMs)
        reply.raw.setTimeout(exportStallMs, () => stream.destroy(new Error('its client has stopped reading')))
        stream.once('close', () => {
          clearTimeout(late)
          leave()
        })
        stream.once('error', (error) =>
          context.log.warn({ err: error, request_id: request.id }, 'an export broke off'),
        )
        return reply
          .type(FORMATS[format].type)
          .header('cache-control', 'no-store')
          .header('content-disposition', `attachment; filename="${what}.${format}"`)
          .send(stream)
      } catch (error) {
        leave()
        throw error
      }
    },
  )
}

function msOf(path: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const ms = Date.parse(text)
  if (!(ms >= 0 && ms <= 4_294_967_295_000)) refuse(path, 'expected a moment between 1970 and 2106')
  return ms
}

function refuse(path: string, message: string): never {
  throw new ApiProblem('invalid_request', `${path}: ${message}.`, { errors: [{ path, message }] })
}
