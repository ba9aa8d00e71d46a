import { z } from 'zod'

/** Every code that a problem may have, with its HTTP status and its title. Callers branch on the code; none is ever renamed. */
export const PROBLEMS = {
  invalid_request: { status: 400, title: 'The request is not what the route takes' },
  cursor_invalid: { status: 400, title: 'The cursor belongs to no page of this list' },
  unauthenticated: { status: 401, title: 'No valid token or API key' },
  forbidden: { status: 403, title: 'The role does not allow this' },
  not_found: { status: 404, title: 'There is no such thing' },
  method_not_allowed: { status: 405, title: 'The route does not take this method' },
  request_timeout: { status: 408, title: 'The request took too long to arrive' },
  idempotency_in_progress: { status: 409, title: 'A request with this Idempotency-Key is under way' },
  too_large: { status: 413, title: 'The body is too large' },
  unsupported_media_type: { status: 415, title: 'The body is not JSON' },
  misdirected: { status: 421, title: 'The server listens on loopback only' },
  idempotency_mismatch: { status: 422, title: 'The Idempotency-Key was used for another request' },
  job_refused: { status: 422, title: 'A job that no daemon could do' },
  rate_limited: { status: 429, title: 'Too many requests' },
  too_many_queries: { status: 429, title: 'Too many queries at a time' },
  headers_too_large: { status: 431, title: 'The headers are too large' },
  internal: { status: 500, title: 'An error of ours' },
  unavailable: { status: 503, title: 'A part that is needed does not answer' },
  query_timeout: { status: 504, title: 'The query took too long' },
} as const satisfies Record<string, { status: number; title: string }>

export type ProblemCode = keyof typeof PROBLEMS

export const PROBLEM_JSON = 'application/problem+json; charset=utf-8'

export const problemSchema = z
  .object({
    type: z.string().describe('An address, relative to the API, that explains the code.'),
    title: z.string(),
    status: z.int(),
    code: z.enum(Object.keys(PROBLEMS) as [ProblemCode, ...ProblemCode[]]).describe('Stable: branch on it.'),
    detail: z.string().describe('What was found and what was expected, in a sentence.'),
    instance: z.string().describe('The id of the request, as in `x-request-id`.'),
    errors: z
      .array(z.object({ path: z.string(), message: z.string() }))
      .optional()
      .describe('Each thing that is wrong with the request.'),
  })
  .meta({ id: 'Problem', title: 'An error, by RFC 9457' })

export type Problem = z.output<typeof problemSchema>

export interface ProblemOptions {
  readonly headers?: Readonly<Record<string, string>>
  readonly errors?: readonly { readonly path: string; readonly message: string }[]
  readonly cause?: unknown
}

/** A failure that the caller is told about. `detail` goes out as it is: no stack, no SQL, no address of ours. */
export class ApiProblem extends Error {
  override readonly name = 'ApiProblem'
  readonly code: ProblemCode
  readonly headers: Readonly<Record<string, string>>
  readonly errors: ProblemOptions['errors']

  constructor(code: ProblemCode, detail: string, options: ProblemOptions = {}) {
    super(detail, options.cause === undefined ? {} : { cause: options.cause })
    this.code = code
    this.headers = options.headers ?? {}
    this.errors = options.errors
  }

  get status(): number {
    return PROBLEMS[this.code].status
  }

  /** As it goes over the wire. */
  body(requestId: string): Problem {
    const { status, title } = PROBLEMS[this.code]
    return {
      type: `/docs#${this.code}`,
      title,
      status,
      code: this.code,
      detail: this.message,
      instance: requestId,
      ...(this.errors === undefined ? {} : { errors: [...this.errors] }),
    }
  }
}
