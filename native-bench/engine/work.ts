import { z } from 'zod'
import { jobRecord } from '../../src/pipeline/messages.ts'
import { definePlatform } from '../../src/platforms/define.ts'

// What every contestant fetches: one reply a request, a request a job.

export const PLATFORM = 'bench'
export const PATH = '/v1/channels'
export const HEADERS = { accept: 'application/json' }

/** The one who only sends asks for the same creator again and again; a job asks for its own. */
export const ADDRESS = `${PATH}?id=creator-12345&part=statistics`

/** About 1 KB. */
export const REPLY = Buffer.from(
  JSON.stringify({ kind: 'channelListResponse', items: [{ id: 'x'.repeat(950) }] }),
)

export function checkReply(status: number, bytes: number): void {
  if (status !== 200 || bytes !== REPLY.length) throw new Error('a reply that is none')
}

/** One call, a schema for its reply, one row and a result. */
export const platform = definePlatform({
  name: PLATFORM,
  origin: 'http://127.0.0.1',
  credentials: z.object({}),
  endpoints: {
    channel: {
      path: PATH,
      response: z.object({ kind: z.string(), items: z.array(z.looseObject({ id: z.string() })) }),
    },
  },
  jobs: {
    profile: {
      params: z.object({}),
      async run(job, { get }) {
        const { items } = await get('channel', { query: { id: job.creatorId, part: 'statistics' } })
        return {
          rows: [{ table: 'points', metric: 'items', value: items.length }],
          data: { items: items.length },
        }
      },
    },
  },
})

/** The job of so many, as a producer publishes it. */
export function job(index: number): { readonly key: Buffer; readonly value: Buffer } {
  const { key, value } = jobRecord({
    platform: PLATFORM,
    creator_id: `creator-${index}`,
    job_type: 'profile',
    priority: 5,
  })
  return { key: key!, value: value! }
}
