import { z } from 'zod'
import type { App, Context } from '../context.ts'
import { ApiProblem } from '../problem.ts'
import { type Creator, creator } from '../queries/creator.ts'
import { creatorsPage, FIELDS, SORTS } from '../queries/creators.ts'
import { historyOf, STEPS, stepsIn } from '../queries/history.ts'
import { mediaPage } from '../queries/media.ts'
import { sendAnswer } from '../reply.ts'
import {
  creatorPath,
  cursor,
  flagged,
  instant,
  nextCursor,
  number,
  platformName,
  printable,
  utc,
  whole,
} from '../schemas.ts'

const DAY_MS = 86_400_000
/** How long the address of a picture opens it: longer than an answer is kept. */
const PRESIGNED_S = 3 * 3_600
const STEPS_MAX = 5_000
const NUMBER_MAX = 1e12

const listQuery = z.strictObject({
  platform: platformName.optional(),
  followers_min: number(0, NUMBER_MAX).optional(),
  followers_max: number(0, NUMBER_MAX).optional(),
  engagement_min: number(0, 100).optional().describe('0.05 is five per cent.'),
  verified: flagged.optional(),
  q: printable(100).optional().describe('Text in name, handle or biography, in any case.'),
  flag: z
    .string()
    .regex(/^[a-z0-9_]{1,64}$/)
    .optional()
    .describe('Such as suspicious_engagement or suspicious_drop.'),
  sort: z.enum(SORTS).default('-followers'),
  fields: z
    .string()
    .regex(new RegExp(`^(${FIELDS.join('|')})(,(${FIELDS.join('|')}))*$`))
    .optional()
    .describe(`Of ${FIELDS.join(', ')}, with commas. Default: all but biography.`),
  limit: whole(1, 200).default(50),
  cursor: cursor.optional(),
})

const item = z.object({
  platform: z.string(),
  creator_id: z.string(),
  name: z.string().optional(),
  handle: z.string().optional(),
  biography: z.string().optional(),
  verified: z.boolean().optional(),
  gone: z.boolean().optional(),
  flags: z.array(z.string()).optional(),
  followers: z.number().nullable().optional(),
  engagement_rate: z.number().nullable().optional(),
  ts: utc.nullable().optional().describe('Of the newest snapshot.'),
})

const listReply = z
  .object({
    as_of: utc.describe('The moment that the followers of all pages are of.'),
    items: z.array(item),
    next_cursor: nextCursor,
  })
  .meta({ id: 'CreatorsPage' })

const creatorReply = z
  .object({
    platform: z.string(),
    creator_id: z.string(),
    name: z.string(),
    handle: z.string(),
    biography: z.string(),
    verified: z.boolean(),
    gone: z.boolean().describe('The platform says that there is no such creator any more.'),
    flags: z.array(z.string()),
    email: z.string(),
    picture_url: z.string().describe("The platform's own."),
    numbers: z.record(z.string(), z.number()).describe('By metric.'),
    followers_before: z.number().nullable().describe('Of the snapshot before.'),
    followers_before_ts: utc.nullable(),
    ts: utc.describe('The logical time of the snapshot: when it was asked for.'),
    observed_at: utc.nullable().describe('When the platform answered, if more than a minute from `ts`.'),
    age_s: z.int().describe('How old the snapshot was when this was made.'),
    pictures: z.array(
      z.object({
        subject: z.string().describe('`avatar`, or the id of a post.'),
        variant: z.string(),
        key: z.string(),
        url: z
          .string()
          .nullable()
          .describe('Opens it for some hours; null where the store has no addresses.'),
        width: z.int(),
        height: z.int(),
        bytes: z.int(),
        thumbhash: z.string(),
      }),
    ),
  })
  .meta({ id: 'Creator' })

const historyReply = z
  .object({
    platform: z.string(),
    creator_id: z.string(),
    metric: z.string(),
    step: z.enum(STEPS),
    from: utc,
    to: utc,
    points: z
      .array(
        z.object({
          at: utc.describe('When the step begins.'),
          value: z.number().nullable().describe('The last number in it; null where there is none.'),
          ts: utc.nullable(),
          observed_at: utc
            .nullable()
            .describe('When the platform answered, if more than a minute from `ts`.'),
        }),
      )
      .describe('One for each step, also for those without a number: a gap is a gap.'),
  })
  .meta({ id: 'History' })

const mediaReply = z
  .object({
    items: z.array(
      z.object({
        media_id: z.string(),
        kind: z.string(),
        title: z.string(),
        url: z.string(),
        published_at: utc.nullable(),
        ts: utc,
        numbers: z.record(z.string(), z.number()).describe('The newest, by metric.'),
      }),
    ),
    next_cursor: nextCursor,
  })
  .meta({ id: 'MediaPage' })

const role = { role: 'viewer' } as const

/** `/v1/creators` and what is below one of them. */
export function creatorRoutes(app: App, context: Context): void {
  const { engine, cursors, queryTimeoutMs: timeoutMs } = context

  app.get(
    '/v1/creators',
    {
      config: role,
      schema: {
        operationId: 'listCreators',
        summary: 'Creators by what they are, page by page',
        querystring: listQuery,
        response: { 200: listReply },
      },
    },
    async (request, reply) => {
      const { sort, limit, fields, cursor: given, ...filter } = request.query
      const list = ['creators', sort, filter]
      const after = given === undefined ? undefined : cursors.read(list, given)
      const chosen = fields?.split(',') ?? FIELDS.filter((field) => field !== 'biography')
      const key = { id: JSON.stringify([...list, limit, chosen, after ?? null]) }
      return await sendAnswer(context, request, reply, key, async (signal) => {
        const asOfMs = after?.asOfMs ?? Date.now()
        const { items, next } = await creatorsPage(engine, {
          ...{ filter, sort, limit, after, asOfMs, signal, timeoutMs },
          fields: FIELDS.filter((field) => chosen.includes(field)),
        })
        const next_cursor = next === null ? null : cursors.write(list, { key: next, asOfMs })
        return { as_of: new Date(asOfMs).toISOString(), items, next_cursor }
      })
    },
  )

  app.get(
    '/v1/creators/:platform/:id',
    {
      config: role,
      schema: {
        operationId: 'getCreator',
        summary: 'The newest snapshot of a creator',
        params: creatorPath,
        querystring: z.strictObject({}),
        response: { 200: creatorReply },
      },
    },
    async (request, reply) => {
      const who = of(request.params)
      return await sendAnswer(
        context,
        request,
        reply,
        { id: `creator ${who.name}`, creator: who.name },
        async (signal) => presented(await creator(engine, { ...who, signal, timeoutMs })),
      )
    },
  )

  app.get(
    '/v1/creators/:platform/:id/history',
    {
      config: role,
      schema: {
        operationId: 'getHistory',
        summary: 'One number of a creator over time',
        params: creatorPath,
        querystring: z.strictObject({
          metric: z
            .string()
            .regex(/^[a-z][a-z0-9_]{0,63}$/)
            .default('followers'),
          from: instant.optional().describe('Default: 30 days before `to`.'),
          to: instant.optional().describe('Default: now.'),
          step: z.enum(STEPS).default('day'),
        }),
        response: { 200: historyReply },
      },
    },
    async (request, reply) => {
      const who = of(request.params)
      const { metric, step, from, to } = request.query
      const { fromMs, toMs } = windowOf(from, to, step)
      const key = {
        id: JSON.stringify(['history', who.name, metric, step, from ?? null, to ?? null]),
        creator: who.name,
      }
      return await sendAnswer(context, request, reply, key, async (signal) => ({
        platform: who.platform,
        creator_id: who.creatorId,
        metric,
        step,
        from: new Date(fromMs).toISOString(),
        to: new Date(toMs).toISOString(),
        points: await historyOf(engine, { ...who, metric, step, fromMs, toMs, signal, timeoutMs }),
      }))
    },
  )

  app.get(
    '/v1/creators/:platform/:id/media',
    {
      config: role,
      schema: {
        operationId: 'listMedia',
        summary: 'Posts of a creator with their newest numbers, newest post first',
        params: creatorPath,
        querystring: z.strictObject({ limit: whole(1, 200).default(50), cursor: cursor.optional() }),
        response: { 200: mediaReply },
      },
    },
    async (request, reply) => {
      const who = of(request.params)
      const { limit, cursor: given } = request.query
      const list = ['media', who.name]
      const after = given === undefined ? undefined : cursors.read(list, given)
      const key = { id: JSON.stringify([...list, limit, after ?? null]), creator: who.name }
      return await sendAnswer(context, request, reply, key, async (signal) => {
        const { items, next } = await mediaPage(engine, { ...who, limit, after, signal, timeoutMs })
        return { items, next_cursor: next === null ? null : cursors.write(list, { key: next, asOfMs: 0 }) }
      })
    },
  )

  function of({ platform, id }: z.output<typeof creatorPath>) {
    const creatorId = context.normalise(platform, id)
    return { platform, creatorId, name: `${platform}:${creatorId}` }
  }

  async function presented(found: Creator | null) {
    if (found === null)
      throw new ApiProblem('not_found', 'Nothing is known of this creator; was a scrape asked for?')
    return {
      ...found,
      age_s: Math.max(0, Math.floor((Date.now() - Date.parse(found.observed_at ?? found.ts)) / 1000)),
      pictures: await Promise.all(
        found.pictures.map(async (picture) => ({
          ...picture,
          url: await context.store.presign(picture.key, PRESIGNED_S),
        })),
      ),
    }
  }
}

/** Unix ms; throws ApiProblem when there would be nothing, or too much, in between. */
function windowOf(from: string | undefined, to: string | undefined, step: (typeof STEPS)[number]) {
  const toMs = to === undefined ? Date.now() : Date.parse(to)
  const fromMs = from === undefined ? toMs - 30 * DAY_MS : Date.parse(from)
  const wrong = (path: string, message: string) => {
    throw new ApiProblem('invalid_request', `${path}: ${message}.`, { errors: [{ path, message }] })
  }
  // What the tables can hold: 32 bits of seconds.
  if (!(toMs > 0 && toMs <= 4_294_967_295_000)) wrong('to', 'expected a moment between 1970 and 2106')
  if (!(fromMs >= 0 && fromMs < toMs)) wrong('from', 'expected a moment before `to`, and not before 1970')
  const steps = stepsIn(fromMs, toMs, step)
  if (steps > STEPS_MAX)
    wrong('step', `found ${steps} steps between from and to, expected at most ${STEPS_MAX}`)
  return { fromMs, toMs }
}
