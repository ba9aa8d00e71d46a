import { NoSuchBucket, S3ServiceException } from '@aws-sdk/client-s3'
import { MillraceError, messageOf, ServiceAwayError } from '../job/errors.ts'

/** The HTTP status of an answer that was an error, or undefined when there was none. */
export function statusOf(error: unknown): number | undefined {
  return error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined
}

/** The code S3 gave the error, e.g. `AccessDenied`. */
function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : ''
}

/** True for "there is no such object"; a missing bucket is another matter wherever the answer tells them apart. */
export function isAbsent(error: unknown): boolean {
  return statusOf(error) === 404 && !isBucketMissing(error)
}

export function isBucketMissing(error: unknown): boolean {
  return error instanceof NoSuchBucket || nameOf(error) === 'NoSuchBucket'
}

/** True when somebody else was writing the same key at that moment: whether they succeed is not known yet. */
export function isWriteConflict(error: unknown): boolean {
  return statusOf(error) === 409 && nameOf(error) !== 'BucketAlreadyExists'
}

const CLOCK = new Set(['RequestTimeTooSkewed', 'RequestExpired'])

/**
 * The SDK's error as one of ours. What an operator has to mend (bucket, credentials, clock) is a MillraceError; what may pass by
 * itself (no answer, time-out, 5xx, throttling) is a ServiceAwayError.
 */
export function translated(
  error: unknown,
  where: { doing: string; bucket: string; endpoint: string },
): Error {
  const found = `store: could not ${where.doing} in bucket "${where.bucket}" at ${where.endpoint}`
  const said = messageOf(error, 300) || nameOf(error)
  const status = statusOf(error)
  if (isBucketMissing(error)) {
    return new MillraceError(
      'STORE_BUCKET_MISSING',
      `${found}: there is no such bucket; create it, or correct store.bucket.`,
      {
        cause: error,
      },
    )
  }
  if (CLOCK.has(nameOf(error))) {
    return new MillraceError('STORE_CLOCK', `${found}: ${said}; set this machine's clock (NTP).`, {
      cause: error,
    })
  }
  if (status === 401 || status === 403 || nameOf(error) === 'CredentialsProviderError') {
    const act = 'check the access key, its secret, and its rights to read, write and delete there'
    return new MillraceError('STORE_FORBIDDEN', `${found}: ${nameOf(error)}, ${said}; ${act}.`, {
      cause: error,
    })
  }
  if (
    status !== undefined &&
    status >= 400 &&
    status < 500 &&
    status !== 408 &&
    status !== 429 &&
    status !== 409
  ) {
    return new MillraceError('STORE_REFUSED', `${found}: HTTP ${status} ${nameOf(error)}, ${said}.`, {
      cause: error,
    })
  }
  const answer =
    status === undefined ? `${nameOf(error)}, ${said}` : `HTTP ${status} ${nameOf(error)}, ${said}`
  return new ServiceAwayError('store', `${found}: ${answer}; check that the store is up and reachable.`, {
    cause: error,
  })
}
