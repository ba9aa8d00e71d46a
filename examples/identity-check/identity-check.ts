/**
 * A platform of one's own that has nothing to do with social media: identity checks against a slow third-party register. It
 * takes an order, works on it for seconds or minutes, allows few calls, and must never be asked twice for one customer. The
 * verdict comes back in `data` of the job's result, on the results topic.
 *
 * A project that has millrace as a dependency imports from `millrace/platforms`.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { AttemptError, definePlatform } from '../../src/platforms/index.ts'

const check = z.looseObject({
  check_id: z.string(),
  status: z.enum(['pending', 'verified', 'rejected', 'unclear']),
  /** While pending: seconds until it is worth asking again. */
  poll_after_s: z.number().positive().optional(),
  score: z.number().min(0).max(1).optional(),
  checked_at: z.iso.datetime({ offset: true }).optional(),
})

const registerError = z.looseObject({
  error: z.looseObject({ type: z.string(), message: z.string(), wait_s: z.number().optional() }),
})

export default definePlatform({
  name: 'identity',
  origin: 'https://register.example',
  version: 'Register API 2026-06',
  credentials: z.object({ token: z.string().min(1) }),
  endpoints: {
    // An order is what the register charges for: it costs five units, a look at it one.
    order: { path: '/v1/checks', method: 'POST', cost: 5, response: check },
    status: { path: '/v1/checks/:check_id', cost: 1, response: check },
  },
  creatorId(id) {
    const reference = id.trim().toUpperCase()
    if (!/^[A-Z]{2}-\d{4,12}$/.test(reference)) {
      throw new Error(`creator_id ${JSON.stringify(id)}: expected a customer reference such as AB-1234`)
    }
    return reference
  },
  authorise: ({ token }) => ({ headers: { authorization: `Token ${token}` } }),
  throttled({ json, status }) {
    const parsed = registerError.safeParse(json)
    if (!parsed.success || parsed.data.error.type !== 'busy') return undefined
    const { message, wait_s } = parsed.data.error
    return {
      reason: 'rate_limited',
      message: `The register is busy (${status}): ${message}`,
      ...(wait_s === undefined ? {} : { retryAfterMs: wait_s * 1000 }),
      scope: 'platform',
    }
  },
  refused({ json }) {
    const parsed = registerError.safeParse(json)
    if (!parsed.success) return undefined
    const { type, message } = parsed.data.error
    if (type === 'bad_order') return { reason: 'invalid_params', message }
    if (type === 'token_expired') return { reason: 'unauthorized', message }
    return undefined
  },
  jobs: {
    check: {
      params: z.object({
        family_name: z.string().min(1),
        given_names: z.string().min(1),
        birth_date: z.iso.date(),
        wait_s_max: z.int().min(0).max(120).default(60).describe('How long one run waits for the verdict.'),
      }),
      // The order, and two looks at it as a rule.
      calls: { order: 1, status: 2 },
      async run(job, { get, signal }) {
        const { wait_s_max, ...person } = job.params
        // The register knows an order again by its reference. The job's id stays the same through every retry, so however often
        // this runs, there is one check, and it is paid for once.
        const order = { reference: job.id, customer: job.creatorId, ...person }
        let state = await get('order', { json: order })
        let waitedS = 0
        while (state.status === 'pending') {
          const waitS = state.poll_after_s ?? 5
          if (waitedS + waitS > wait_s_max) {
            // Not a failure of ours or theirs: the job makes room, and comes back through a retry topic.
            throw new AttemptError('timeout', `the register is still working on ${state.check_id}`, {
              retryAfterMs: waitS * 1000,
            })
          }
          await sleep(waitS * 1000, undefined, { signal })
          waitedS += waitS
          state = await get('status', { path: { check_id: state.check_id } })
        }
        // The verdict only: nobody who reads results needs the person's name.
        return {
          data: {
            customer: job.creatorId,
            check_id: state.check_id,
            verdict: state.status,
            score: state.score ?? null,
            checked_at: state.checked_at ?? null,
          },
        }
      },
    },
  },
})
