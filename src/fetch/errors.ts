import { AttemptError, messageOf } from '../job/errors.ts'
import type { Reason } from '../job/reason.ts'
import { AddressRefusedError } from './address-guard.ts'
import { DecodeError } from './decode.ts'

/**
 * Nothing was sent, and nothing failed: the permit could not be used, so the call goes back to its lane for another one.
 * `late`: its deadline had passed when a socket was there. `breaker_open`: the host is not called at present.
 */
export class PermitLateError extends Error {
  override readonly name = 'PermitLateError'
  readonly code = 'PERMIT_LATE'
  readonly why: 'late' | 'breaker_open'

  constructor(why: 'late' | 'breaker_open', message: string) {
    super(message)
    this.why = why
  }
}

/** Type guard for PermitLateError, for those who only hold `unknown`. */
export function isPermitLate(error: unknown): error is PermitLateError {
  return error instanceof PermitLateError
}

/** Codes of undici, Node and llhttp that are not a broken connection, which is what everything else is. */
const REASON_BY_CODE: Readonly<Record<string, Reason>> = {
  ADDRESS_REFUSED: 'address_refused',
  UND_ERR_CONNECT_TIMEOUT: 'timeout',
  UND_ERR_HEADERS_TIMEOUT: 'timeout',
  UND_ERR_BODY_TIMEOUT: 'timeout',
  ETIMEDOUT: 'timeout',
  UND_ERR_HEADERS_OVERFLOW: 'too_large',
  UND_ERR_RES_EXCEEDED_MAX_SIZE: 'too_large',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'bad_response',
  // Not the network's fault but ours, or that of a header that somebody configured.
  UND_ERR_INVALID_ARG: 'internal',
  UND_ERR_NOT_SUPPORTED: 'internal',
  UND_ERR_REQ_CONTENT_LENGTH_MISMATCH: 'internal',
}

/**
 * What a failed request is to us. `what` names the request (method, origin, path). The cause is not attached: libraries
 * keep bytes of the exchange in their errors (undici's parser error does), and with them what may be secret.
 */
export function translateError(error: unknown, what: string): AttemptError {
  if (error instanceof AttemptError) return error
  if (error instanceof DecodeError) return new AttemptError(error.reason, `${what}: ${error.message}`)
  if (error instanceof AddressRefusedError) {
    return new AttemptError('address_refused', `${what}: ${error.message}`)
  }
  const code = codeOf(error)
  // By name: undici 8.12 looks the parser's code up in a table that has it the other way round, and leaves `code` undefined.
  if (error instanceof Error && error.name === 'HTTPParserError') {
    return new AttemptError('bad_response', `${what}: ${messageOf(error, 200)}`)
  }
  const reason = (code !== undefined ? REASON_BY_CODE[code] : undefined) ?? 'connection'
  const text = messageOf(innermost(error), 200)
  const named = code === undefined || text.includes(code) ? text : `${text} (${code})`
  return new AttemptError(reason, `${what}: ${named}`)
}

/** Happy Eyeballs reports one error per address it tried; one of them tells the story. */
function innermost(error: unknown): unknown {
  if (error instanceof AggregateError && error.errors.length > 0) return error.errors[0]
  return error
}

function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}
