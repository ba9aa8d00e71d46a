import { z } from 'zod'
import { type App, type Context, clientOf } from '../context.ts'
import { ApiProblem } from '../problem.ts'
import { creatorId, instant, jobId, printable, utc } from '../schemas.ts'

const JOBS_MAX = 1_000
const DEPTH_MAX = 8
const BODY_BYTES_MAX = 1024 * 1024

const stateReply = z
  .object({
    job_id: z.string(),
    state: z
      .enum(['queued', 'running', 'done', 'skipped', 'dead'])
      .describe(
        '`running` from its first call to the platform on; `queued` before, and while it waits for its next try.',
      ),
    platform: z.string(),
    creator_id: z.string(),
    job_type: z.string(),
    reason: z.string().nullable().describe('A code of docs/reasons.md, when not done.'),
    attempts: z.int(),
    requested_at: utc,
    finished_at: utc.nullable(),
  })
  .meta({ id: 'Scrape' })

const accepted = z
  .object({ jobs: z.array(z.object({ job_id: z.string(), href: z.string() })) })
  .meta({ id: 'ScrapesAccepted' })

/** `/v1/scrapes`: asking for jobs, and what has become of one. */
export function scrapeRoutes(app: App, context: Context): void {
  const scrape = z
    .strictObject({
      platform: z.enum(context.platforms as [string, ...string[]]),
      creator_id: creatorId,
      job_type: z
        .string()
        .regex(/^[a-z][a-z0-9_]{0,63}$/)
        .default('full_profile_scrape'),
      priority: z.int().min(1).max(10).optional(),
      job_id: jobId.optional().describe('Default: one that is made up.'),
      expires_at: instant.optional(),
      params: z.record(z.string(), z.unknown()).optional().describe("The adapter's own."),
    })
    .meta({ id: 'ScrapeRequest' })

  app.post(
    '/v1/scrapes',
    {
      config: { role: 'operator' },
      bodyLimit: BODY_BYTES_MAX,
      schema: {
        operationId: 'requestScrapes',
        summary: 'Asks for one job, or up to 1,000',
        headers: z.object({
          'idempotency-key': printable(255)
            .optional()
            .describe('The same key with the same body asks once, for 24 hours.'),
        }),
        querystring: z.strictObject({}),
        body: z.union([scrape, z.strictObject({ jobs: z.array(scrape).min(1).max(JOBS_MAX) })]),
        response: { 202: accepted },
      },
      preValidation: async (request) => {
        if (isDeeper(request.body, DEPTH_MAX))
          throw new ApiProblem('invalid_request', `The body is nested deeper than ${DEPTH_MAX} levels.`)
      },
    },
    async (request, reply) => {
      const client = clientOf(request)
      const jobs = 'jobs' in request.body ? request.body.jobs : [request.body]
      await context.fairness.jobs(client, jobs.length)
      const plain = jobs.map((job) => JSON.parse(JSON.stringify(job)) as typeof job)
      const { jobIds, repeated } = await context.scrapes.take(
        client,
        plain,
        request.headers['idempotency-key'],
      )
      const listed = jobIds.map((job_id) => ({ job_id, href: `/v1/scrapes/${encodeURIComponent(job_id)}` }))
      if (repeated) reply.header('idempotency-replayed', 'true')
      return reply
        .code(202)
        .header('location', listed[0]!.href)
        .header('cache-control', 'no-store')
        .send({ jobs: listed })
    },
  )

  app.get(
    '/v1/scrapes/:job_id',
    {
      config: { role: 'viewer' },
      schema: {
        operationId: 'getScrape',
        summary: 'What has become of a job',
        params: z.strictObject({ job_id: jobId }),
        querystring: z.strictObject({}),
        response: { 200: stateReply },
      },
    },
    async (request, reply) => {
      const leave = context.fairness.enter(clientOf(request))
      try {
        const options = { signal: request.left, timeoutMs: context.queryTimeoutMs }
        const state = await context.scrapes.state(request.params.job_id, options)
        if (state === null) throw new ApiProblem('not_found', 'Nothing is known of this job.')
        return reply.header('cache-control', 'no-store').send(state)
      } finally {
        leave()
      }
    },
  )
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  return levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1))
}
