/**
 * Where verdicts are delivered: an address of the user's own, as a platform, so that deliveries have permits, limits, retries and
 * dead letters like every other call. `platforms.identity_callback.origin` says where; a path prefix may stand in it. A delivery may
 * come twice (a daemon was killed in between): whoever takes it goes by `check_id`.
 */
import { z } from 'zod'
import { definePlatform } from '../../src/platforms/index.ts'

export default definePlatform({
  name: 'identity_callback',
  origin: 'https://callback.example',
  credentials: z.object({ token: z.string().min(1) }),
  endpoints: {
    // Any answer of 200 to 299 will do, also one without a body.
    deliver: { path: '/verdicts', method: 'POST', response: z.unknown() },
  },
  authorise: ({ token }) => ({ headers: { authorization: `Bearer ${token}` } }),
  jobs: {
    deliver: {
      params: z.object({
        check_id: z.string().min(1),
        verdict: z.enum(['verified', 'rejected', 'unclear']),
        score: z.number().nullable(),
        checked_at: z.iso.datetime({ offset: true }).nullable(),
      }),
      calls: { deliver: 1 },
      async run(job, { get }) {
        await get('deliver', { json: { customer: job.creatorId, ...job.params } })
        return {}
      },
    },
  },
})
