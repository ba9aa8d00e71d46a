import { z } from 'zod'
import type { App, Context } from '../context.ts'
import { dashboard } from '../queries/dashboard.ts'
import { trending, WINDOWS } from '../queries/trending.ts'
import { sendAnswer } from '../reply.ts'
import { number, platformName, utc, whole } from '../schemas.ts'

const mover = z.object({
  platform: z.string(),
  creator_id: z.string(),
  name: z.string(),
  handle: z.string(),
  first_day: z.iso.date(),
  last_day: z.iso.date(),
  followers_from: z.number(),
  followers_to: z.number(),
  absolute: z.number(),
  relative: z.number().nullable().describe('0.05 is five per cent; null when the first number is 0.'),
})

const dashboardReply = z
  .object({
    at: utc,
    platforms: z.array(
      z.object({
        platform: z.string(),
        creators: z.int(),
        gone: z.int(),
        verified: z.int(),
        flagged: z.int(),
        followers: z.number(),
        coverage: z.object({
          seen_24h: z.number().describe('Share of the creators that were seen in the last 24 hours.'),
          seen_7d: z.number(),
        }),
        freshness: z.object({ newest: utc.nullable(), median_age_s: z.int(), p95_age_s: z.int() }),
      }),
    ),
    daily: z
      .array(z.object({ platform: z.string(), day: z.iso.date(), creators: z.int(), followers: z.number() }))
      .describe('Of the creators that were seen on each day.'),
    rising: z.array(mover),
    falling: z.array(mover),
    jobs_24h: z.array(
      z.object({ platform: z.string(), status: z.string(), reason: z.string(), jobs: z.int() }),
    ),
  })
  .meta({ id: 'Dashboard' })

const role = { role: 'viewer' } as const

/** `/v1/trending` and `/v1/dashboard`: answers over all creators. */
export function overviewRoutes(app: App, context: Context): void {
  const { engine, queryTimeoutMs: timeoutMs } = context

  app.get(
    '/v1/trending',
    {
      config: role,
      schema: {
        operationId: 'listTrending',
        summary: 'Creators who grow fastest',
        querystring: z.strictObject({
          window: z.enum(WINDOWS).default('7d'),
          by: z.enum(['absolute', 'relative']).default('absolute'),
          platform: platformName.optional(),
          followers_min: number(0, 1e12).default(0).describe('At the beginning of the window.'),
          limit: whole(1, 200).default(20),
        }),
        response: {
          200: z.object({ window: z.enum(WINDOWS), items: z.array(mover) }).meta({ id: 'Trending' }),
        },
      },
    },
    async (request, reply) => {
      const { window, by, platform, followers_min: followersMin, limit } = request.query
      const key = { id: JSON.stringify(['trending', request.query]) }
      return await sendAnswer(context, request, reply, key, async (signal) => ({
        window,
        items: await trending(engine, { window, by, platform, followersMin, limit, signal, timeoutMs }),
      }))
    },
  )

  app.get(
    '/v1/dashboard',
    {
      config: role,
      schema: {
        operationId: 'getDashboard',
        summary: 'The overview: totals, daily lines, movers, coverage, freshness',
        querystring: z.strictObject({}),
        response: { 200: dashboardReply },
      },
    },
    async (request, reply) =>
      await sendAnswer(context, request, reply, { id: 'dashboard' }, (signal) =>
        dashboard(engine, { signal, timeoutMs }),
      ),
  )
}
