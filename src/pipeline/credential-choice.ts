/** Which credential permits are asked for with, where no call says so itself. All times on performance.now(). */
export interface CredentialChoice {
  /** Whom to ask for `count` permits with, and for how many of them each; empty while none can be used. */
  share(count: number, nowMs: number): readonly Share[]
  /** From when on one can be used. */
  readonly usableAtMs: number
  /** Permits were granted that count against it. */
  granted(name: string, permits: number): void
  /** Its own limits grant no more until then. */
  holdBack(name: string, untilMs: number): void
}

export interface Share {
  /** Of the credential; undefined where there is one without a name. */
  readonly name: string | undefined
  readonly count: number
}

/** Whether a level of the limits is one of the credential's own, its bucket, window or quota. */
export function isOwnLevel(level: string | null, credential: string): boolean {
  return level !== null && /^(?:credential|quota):/.test(level) && level.endsWith(`/${credential}`)
}
