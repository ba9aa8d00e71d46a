/**
 * What a wait rejects with when it is given up: the signal's own reason where that is an AbortError, else an AbortError
 * with the reason as its cause; without a signal the writer itself is stopping.
 */
export function abortError(signal?: AbortSignal): Error {
  const reason: unknown = signal?.reason
  if (reason instanceof Error && reason.name === 'AbortError') return reason
  const message = signal?.aborted === true ? 'Writing the rows was aborted' : 'The row writer is stopping'
  return new DOMException(message, { name: 'AbortError', cause: reason })
}
