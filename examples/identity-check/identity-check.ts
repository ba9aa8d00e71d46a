/**
 * A platform of one's own that has nothing to do with social media: identity checks against a slow third-party register. It
 * takes an order, works on it for seconds or hours, allows few calls, and must never be asked twice for one customer. The
 * verdict comes back in `data` of the job's result, on the results topic, and is delivered to a configured address when the
 * job wants it (see callback.ts).
 *
 * A project that has millrace as a dependency imports from `millrace/platforms`.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { type CallContext, definePlatform, type Harvest } from '../../src/platforms/index.ts'

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

const endpoints = {
  // An order is what the register charges for: it costs five units, a look at it one.
  order: { path: '/v1/checks', method: 'POST', cost: 5, response: check },
  status: { path: '/v1/checks/:check_id', cost: 1, response: check },
} as const

/** How a job waits, and where the verdict goes; a job that goes on with another's check has the same. */
const waiting = {
  wait_s_max: z
    .int()
    .min(1)
    .max(120)
    .default(60)
    .describe('How long one job waits before it hands the check on.'),
  callback: z.boolean().default(false).describe('Deliver the verdict to the address of identity_callback.'),
}

export default definePlatform({
  name: 'identity',
  origin: 'https://register.example',
  version: 'Register API 2026-06',
  credentials: z.object({ token: z.string().min(1) }),
  endpoints,
  creatorId(id) {
    const reference = id.trim().toUpperCase()
    if (!/^[A-Z]{2}-\d{4,12}$/.test(reference)) {
      throw new Error(`found ${JSON.stringify(id)}, expected a customer reference such as AB-1234`)
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
        ...waiting,
      }),
      // The order, and two looks at it as a rule.
      calls: { order: 1, status: 2 },
      async run(job, context) {
        const { wait_s_max, callback, ...person } = job.params
        // The register knows an order again by its reference. The job's id stays the same through every retry, so however often
        // this runs, there is one check, and it is paid for once.
        const order = { reference: job.id, customer: job.creatorId, ...person }
        const state = await context.get('order', { json: order })
        const customer = job.creatorId
        if (state.status !== 'pending') return harvestOf(state, customer, callback)
        const askAtMs = context.now() + pauseMs(state)
        return await verdictOf({ customer, check_id: state.check_id, askAtMs, wait_s_max, callback }, context)
      },
    },
    /** Waits on for a check that another job has ordered: a register that takes hours is no failure, and costs no attempts. */
    verdict: {
      params: z.object({ check_id: z.string().min(1), ask_at: z.iso.datetime(), ...waiting }),
      calls: { status: 6 },
      run: ({ creatorId: customer, params: { ask_at, ...wait } }, context) =>
        verdictOf({ customer, askAtMs: Date.parse(ask_at), ...wait }, context),
    },
  },
})

interface Wait {
  readonly customer: string
  readonly check_id: string
  /** Unix ms: not to be asked before. */
  readonly askAtMs: number
  readonly wait_s_max: number
  readonly callback: boolean
}

/**
 * Looks at a check until it is decided, never earlier than the register wants, each look under a permit of its own; nothing but
 * the job's place is held in between. After `wait_s_max` the check is handed on to a follow-up job, since a job that waits for
 * hours would keep its partition from being committed. All of it ends with `expires_at` of the first job.
 */
async function verdictOf(
  { customer, check_id, wait_s_max, callback, ...wait }: Wait,
  { get, signal, now }: CallContext<typeof endpoints>,
): Promise<Harvest> {
  const handOnMs = now() + wait_s_max * 1000
  let { askAtMs } = wait
  for (;;) {
    await sleep(Math.max(0, Math.min(askAtMs, handOnMs) - now()), undefined, { signal })
    if (askAtMs > handOnMs) {
      const params = { check_id, ask_at: new Date(askAtMs).toISOString(), wait_s_max, callback }
      return { data: { customer, check_id, verdict: null }, followUps: [{ job_type: 'verdict', params }] }
    }
    const state = await get('status', { path: { check_id } })
    if (state.status !== 'pending') return harvestOf(state, customer, callback)
    askAtMs = now() + pauseMs(state)
  }
}

function pauseMs({ poll_after_s = 5 }: z.output<typeof check>): number {
  return poll_after_s * 1000
}

/** The verdict only: nobody who reads results needs the person's name. */
function harvestOf(state: z.output<typeof check>, customer: string, callback: boolean): Harvest {
  const { check_id, status, score = null, checked_at = null } = state
  const verdict = { check_id, verdict: status, score, checked_at }
  // A job of its own: an address that is down is tried again without asking the register anything.
  const delivery = { platform: 'identity_callback', job_type: 'deliver', params: verdict }
  return { data: { customer, ...verdict }, followUps: callback ? [delivery] : [] }
}
