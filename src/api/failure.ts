import { randomUUID } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod'
import { ServiceAwayError } from '../job/errors.ts'
import { ApiProblem, PROBLEM_JSON, type ProblemCode } from './problem.ts'

/** What of Fastify's own refusals is the caller's doing. */
const REFUSALS: Readonly<Record<string, readonly [ProblemCode, string]>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: ['too_large', 'The body is larger than this route takes.'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['unsupported_media_type', 'Expected `content-type: application/json`.'],
  FST_ERR_CTP_INVALID_JSON_BODY: [
    'invalid_request',
    'The body is not JSON, or has a key that no body may have: `__proto__`, or `constructor` with a `prototype`.',
  ],
  FST_ERR_CTP_EMPTY_JSON_BODY: ['invalid_request', 'The body is empty; expected JSON.'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['invalid_request', 'The body is not as long as content-length says.'],
  FST_ERR_BAD_URL: ['invalid_request', 'The address is not one that can be decoded.'],
  FST_ERR_MAX_PARAM_LENGTH: ['invalid_request', 'A part of the address is too long.'],
  FST_ERR_ASYNC_CONSTRAINT: ['invalid_request', 'The address is not one that can be decoded.'],
}

const ERRORS_MAX = 20

/** What Node's parser refuses before there is a request, by its code. */
const UNREADABLE: Readonly<Record<string, readonly [ProblemCode, string]>> = {
  HPE_HEADER_OVERFLOW: ['headers_too_large', 'The address and the headers are larger than is taken.'],
  ERR_HTTP_REQUEST_TIMEOUT: ['request_timeout', 'The request did not arrive in time.'],
}

/** The reply to what is no request, as it goes over the wire. */
export function replyToUnreadable(code: string | undefined): string {
  const [name, detail] = UNREADABLE[code ?? ''] ?? [
    'invalid_request',
    'This is no HTTP request that can be read.',
  ]
  const problem = new ApiProblem(name, detail)
  const body = JSON.stringify(problem.body(randomUUID()))
  return [
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
    `content-type: ${PROBLEM_JSON}`,
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
    '',
    body,
  ].join('\r\n')
}

/** Anything thrown, as the caller is told: known failures by their code, all others as ours, without a word of what they were. */
export function problemOf(error: unknown): ApiProblem {
  if (error instanceof ApiProblem) return error
  if (hasZodFastifySchemaValidationErrors(error)) {
    const errors = error.validation.slice(0, ERRORS_MAX).map(({ instancePath, message }) => ({
      path: [error.validationContext ?? 'request', ...instancePath.split('/').filter(Boolean)].join('.'),
      message: String(message).slice(0, 300),
    }))
    const [first] = errors
    return new ApiProblem('invalid_request', `${first?.path}: ${first?.message}`.slice(0, 600), { errors })
  }
  if (error instanceof ServiceAwayError) {
    const what = error.service === 'clickhouse' ? 'The database' : 'A service'
    return new ApiProblem('unavailable', `${what} does not answer for the moment.`, {
      cause: error,
      headers: { 'retry-after': '5' },
    })
  }
  const { code = '', statusCode } = (typeof error === 'object' && error !== null ? error : {}) as {
    code?: string
    statusCode?: number
  }
  const known = REFUSALS[code]
  if (known !== undefined) return new ApiProblem(known[0], known[1])
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500)
    return new ApiProblem('invalid_request', 'The request cannot be read.', { cause: error })
  return new ApiProblem('internal', 'An error of ours; it is in the log under the id of this request.', {
    cause: error,
  })
}
