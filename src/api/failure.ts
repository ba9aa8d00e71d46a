import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod'
import { ServiceAwayError } from '../job/errors.ts'
import { ApiProblem, type ProblemCode } from './problem.ts'

/** What of Fastify's own refusals is the caller's doing. */
const REFUSALS: Readonly<Record<string, readonly [ProblemCode, string]>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: ['too_large', 'The body is larger than this route takes.'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['unsupported_media_type', 'Expected `content-type: application/json`.'],
  FST_ERR_CTP_INVALID_JSON_BODY: ['invalid_request', 'The body is not JSON.'],
  FST_ERR_CTP_EMPTY_JSON_BODY: ['invalid_request', 'The body is empty; expected JSON.'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['invalid_request', 'The body is not as long as content-length says.'],
  FST_ERR_BAD_URL: ['invalid_request', 'The address is not one that can be decoded.'],
  FST_ERR_MAX_PARAM_LENGTH: ['invalid_request', 'A part of the address is too long.'],
  FST_ERR_ASYNC_CONSTRAINT: ['invalid_request', 'The address is not one that can be decoded.'],
}

const ERRORS_MAX = 20

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
