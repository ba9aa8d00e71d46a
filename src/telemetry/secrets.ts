/** Shorter values would redact ordinary words. */
const SECRET_LENGTH_MIN = 6

/** However many are fetched: of more, the oldest are forgotten. */
const TOKENS_MAX = 1_000
/** A token that has ended is harmless; what it was sent with may still be repeated for a while. */
const KEPT_LONGER_MS = 60 * 60 * 1000

/**
 * What this process must never show: keys, tokens, passwords. One for the whole process, filled when the configuration has been
 * read and again whenever a token is fetched, so that logs, messages and crash reports all know the same.
 */
export class Secrets {
  readonly #now: () => number
  readonly #lasting = new Map<string, ReadonlySet<string>>()
  // In the order in which they were fetched.
  readonly #tokens = new Map<string, { readonly forms: ReadonlySet<string>; readonly untilMs: number }>()
  #forms: readonly string[] = []

  /** `now`: milliseconds that never run backwards. */
  constructor(secrets: readonly string[] = [], now = () => performance.now()) {
    this.#now = now
    this.add(secrets)
  }

  /** Secrets for as long as the process lives. */
  add(secrets: readonly string[]): void {
    for (const secret of secrets) if (isLongEnough(secret)) this.#lasting.set(secret, formsOf(secret))
    this.#prepare()
  }

  /** Secrets that end by themselves, in `lifeMs`. */
  addTokens(tokens: readonly string[], lifeMs: number): void {
    const nowMs = this.#now()
    const unknown = tokens.filter((token) => isLongEnough(token) && !this.#lasting.has(token))
    if (unknown.length === 0) return
    for (const token of unknown) {
      this.#tokens.set(token, { forms: formsOf(token), untilMs: nowMs + lifeMs + KEPT_LONGER_MS })
    }
    for (const [token, { untilMs }] of this.#tokens) {
      if (untilMs < nowMs || this.#tokens.size > TOKENS_MAX) this.#tokens.delete(token)
    }
    this.#prepare()
  }

  /** Puts `[redacted]` in the place of every secret, in whichever of the forms below it stands there. */
  readonly redact = (text: string): string => {
    let clean = text
    for (const form of this.#forms) if (clean.includes(form)) clean = clean.replaceAll(form, '[redacted]')
    return clean
  }

  #prepare(): void {
    const forms = new Set<string>()
    for (const known of this.#lasting.values()) for (const form of known) forms.add(form)
    for (const token of this.#tokens.values()) for (const form of token.forms) forms.add(form)
    // One secret may be part of another.
    this.#forms = [...forms].sort((a, b) => b.length - a.length)
  }
}

const isLongEnough = (secret: string) => secret.length >= SECRET_LENGTH_MIN

/** `redact` of a list that does not change. */
export function redactor(secrets: readonly string[]): (text: string) => string {
  return new Secrets(secrets).redact
}

/**
 * A secret as others write it: in JSON (by JavaScript, PHP and Go, which escape differently; also inside a text inside JSON, which
 * a log line is), in addresses and forms, in HTML, and inside of base64, where a password stands behind its user's name.
 */
function formsOf(secret: string): Set<string> {
  const encoded = base64FormsOf(secret)
  const once = new Set([
    secret,
    encodeURIComponent(secret),
    encodeURI(secret),
    new URLSearchParams({ _: secret }).toString().slice(2),
    html(secret, { '"': '&quot;', "'": '&#39;' }),
    html(secret, { '"': '&#34;', "'": '&#x27;' }),
    ...encoded,
    ...encoded.map(encodeURIComponent),
  ])
  for (const form of [...once]) if (form.includes('%')) once.add(form.replaceAll(/%../g, lower))
  const all = new Set(once)
  for (const escaped of [json, json, phpJson, goJson]) for (const form of [...all]) all.add(escaped(form))
  return all
}

const lower = (text: string) => text.toLowerCase()
const json = (text: string) => JSON.stringify(text).slice(1, -1)
const phpJson = (text: string) => text.replaceAll('/', '\\/')
const goJson = (text: string) =>
  text.replaceAll('&', '\\u0026').replaceAll('<', '\\u003c').replaceAll('>', '\\u003e')

function html(text: string, quotes: Readonly<Record<string, string>>): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll(/["']/g, (quote) => quotes[quote] ?? quote)
}

/**
 * What stays the same of a secret's base64 whatever stands before and behind it. Three bytes become four characters, so there are
 * three ways to begin; characters that hold bits of a neighbour are cut off.
 */
function base64FormsOf(secret: string): string[] {
  const bytes = Buffer.from(secret)
  const forms = [0, 1, 2].map((before) => {
    const text = Buffer.concat([Buffer.alloc(before), bytes]).toString('base64')
    return text.slice(Math.ceil((before * 8) / 6), Math.floor(((before + bytes.length) * 8) / 6))
  })
  return [...forms, ...forms.map((form) => form.replaceAll('+', '-').replaceAll('/', '_'))]
}
