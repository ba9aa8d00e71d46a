/**
 * Every reason a job can be retried, skipped or given up for: the one list. `kind` says whose fault it is, which decides
 * what the daemon does about it; `what` and `act` are printed into docs/reasons.md.
 *
 * - `content`: the job itself is wrong or its creator is; a dead letter at once.
 * - `transient`: may pass by itself; retried, a dead letter when the attempts are used up.
 * - `throttle`: the upstream asks for patience; retried without being counted as a failure.
 * - `environment`: our credentials, network or code; counts towards the dead-letter breaker (see pipeline/dead-breaker).
 */
export const REASONS = {
  malformed: {
    kind: 'content',
    what: 'The record is not JSON, or not a job by its schema.',
    act: 'Fix the producer; the dead letter’s header `millrace-message` says which field is wrong.',
  },
  unknown_platform: {
    kind: 'content',
    what: 'No platform of that name is defined in this daemon.',
    act: 'Check the spelling, or add the platform under `platforms.<name>.module`.',
  },
  unknown_job_type: {
    kind: 'content',
    what: 'The platform is known but offers no such job type.',
    act: 'The message lists the job types that the platform offers.',
  },
  invalid_params: {
    kind: 'content',
    what: "`params` or `creator_id` does not satisfy the job type's schema.",
    act: 'Fix the producer; the message names the field and what was expected.',
  },
  expired: {
    kind: 'content',
    what: '`expires_at` had passed before the job could be finished.',
    act: 'Raise `expires_at`, or look at lag and limits: there is more work than quota.',
  },
  not_found: {
    kind: 'content',
    what: 'The platform does not know the creator. The creator is marked as gone.',
    act: 'Stop following the creator, or correct the id.',
  },
  private: {
    kind: 'content',
    what: 'The creator exists but their numbers are not public.',
    act: 'Nothing, unless the creator grants access.',
  },
  forbidden: {
    kind: 'environment',
    what: 'The platform refuses this call to our credentials.',
    act: 'Check the scopes and the status of the application at the platform.',
  },
  unauthorized: {
    kind: 'environment',
    what: 'The platform refuses our key or token.',
    act: 'Renew the credentials of the platform.',
  },
  rate_limited: {
    kind: 'throttle',
    what: 'The platform said slow down although we were within our limits.',
    act: 'Lower the limit of that level: the configured one is not what the platform enforces.',
  },
  quota_exhausted: {
    kind: 'throttle',
    what: 'A daily quota is spent.',
    act: 'Wait for the reset, buy quota, or ask for less.',
  },
  timeout: {
    kind: 'transient',
    what: 'The platform did not answer within the time allowed.',
    act: 'Look at fetch_duration_seconds of that endpoint; raise `fetch.timeout` if it is always slow.',
  },
  connection: {
    kind: 'environment',
    what: 'No connection to the platform, or it broke.',
    act: 'Check network, DNS and proxies of the daemon.',
  },
  upstream_error: {
    kind: 'transient',
    what: 'The platform answered with an error of its own (5xx).',
    act: "Look at the platform's status page; replay the dead letters when it is over.",
  },
  bad_response: {
    kind: 'transient',
    what: 'The reply is not what the platform documents: not JSON, cut short, or another schema.',
    act: 'The message names the field and shows a sample; the adapter may need an update.',
  },
  address_refused: {
    kind: 'content',
    what: 'The address is not a public one and may not be fetched.',
    act: 'If it is an origin of your own, set `platforms.<name>.private_origin: true`.',
  },
  too_large: {
    kind: 'content',
    what: 'The reply, the picture or a follow-up job is larger than allowed.',
    act: 'Raise `fetch.body_bytes_max`, `images.bytes_max` or the jobs topic’s `max.message.bytes` if it is legitimate.',
  },
  attempts_exhausted: {
    kind: 'transient',
    what: 'The job was put off more often than allowed without ever failing by itself.',
    act: 'Look at the reason of its retries: retries_total by reason.',
  },
  picture_rejected: {
    kind: 'content',
    what: 'A picture could not be had or was not one. It never kills its job.',
    act: 'The result says why for each picture.',
  },
  internal: {
    kind: 'environment',
    what: 'An error in millrace or in an adapter.',
    act: 'The log has the stack; please report it.',
  },
} as const satisfies Record<string, { kind: ReasonKind; what: string; act: string }>

export type ReasonKind = 'content' | 'transient' | 'throttle' | 'environment'
export type Reason = keyof typeof REASONS

/** Type guard for a reason code that came from outside (a header, a configuration). */
export function isReason(text: string): text is Reason {
  return Object.hasOwn(REASONS, text)
}
