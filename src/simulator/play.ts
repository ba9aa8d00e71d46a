import type { IncomingHttpHeaders } from 'node:http'
import type { Accounts } from './accounts.ts'
import type { Population } from './creators.ts'
import type { Growth } from './growth.ts'
import type { Played } from './options.ts'

/** A request as a played platform sees it. */
export interface PlayedRequest {
  readonly method: string
  /** Below the platform's prefix. */
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingHttpHeaders
  /** '' for GET. */
  readonly body: string
  /** Unix ms. */
  readonly nowMs: number
  /** Scheme and host that the caller used: where its pictures are. */
  readonly base: string
}

export interface PlayedReply {
  readonly status: number
  /** JSON, in ASCII: one byte a character. */
  readonly body: string
  /** Names and values in turn. */
  readonly headers?: readonly string[]
}

/** What a platform's replies are made of. */
export interface World {
  readonly seed: number
  readonly population: Population
  readonly growth: Growth
  readonly accounts: Accounts
  readonly tokenLifeS: number
  /** Calls of the last hour, in percent of what the platform's level allows in an hour: 0 to 99. */
  usedPercent(platform: Played): number
}

/** One played platform: routing, replies, and its own words for what goes wrong. */
export interface Player {
  /** The endpoint's name as the adapter has it; undefined when there is no such thing. */
  endpointOf(path: string, query: URLSearchParams): string | undefined
  /** The number of the account that calls; undefined when it does not say, or nobody knows it. */
  accountOf(request: Pick<PlayedRequest, 'query' | 'headers' | 'nowMs'>): number | undefined
  answer(endpoint: string | undefined, request: PlayedRequest): PlayedReply
  /** Over a limit. `level` is the one that refuses. */
  throttle(waitMs: number, level: string | null): PlayedReply
  /** The day's quota is spent. */
  quotaSpent(): PlayedReply
  /** A 5xx. */
  failure(): PlayedReply
  /** An error body, to be sent with status 200. */
  errorBody(): string
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: everything that is not ASCII.
const NOT_ASCII = /[^\u0000-\u007F]/
const NOT_ASCII_EACH = new RegExp(NOT_ASCII, 'g')

/** Other characters are escaped, as Meta does it: a body in one byte a character is written in a third of the time. */
export function json(status: number, value: unknown, headers?: readonly string[]): PlayedReply {
  const text = JSON.stringify(value)
  const body = NOT_ASCII.test(text) ? text.replaceAll(NOT_ASCII_EACH, escaped) : text
  return headers === undefined ? { status, body } : { status, body, headers }
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}

/** Whole seconds, rounded up, at least 1. */
export function retryAfter(waitMs: number): readonly string[] {
  return ['retry-after', String(Math.max(1, Math.ceil(waitMs / 1000)))]
}

export function bearer(headers: IncomingHttpHeaders): string | undefined {
  return /^(?:Bearer|OAuth) (.+)$/i.exec(headers.authorization ?? '')?.[1]
}

const NAMES = ['Studio', 'Kitchen', 'Outdoors', 'Workshop', 'Diaries', 'Daily', 'Lab', 'Travels']

/** Invented words about a creator, the same for the same handle. */
export function describeCreator(handle: string, draw: number) {
  const words = handle.split('_').slice(0, -1)
  const title = words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join(' ')
  const name = `${title} ${NAMES[draw % NAMES.length]}`
  // As people write them: some have an address, some a family emoji or marks that nobody sees.
  const contact = draw % 3 === 0 ? `\nContact: ${words.join('.')}@example.com` : ''
  const decoration = draw % 5 === 0 ? ' \u{1F469}\u200D\u{1F4BB}' : draw % 7 === 0 ? '\u200B' : ''
  return { name, biography: `${name}${decoration}. New every week.${contact}`, verified: draw % 20 === 0 }
}

export function pictureUrl(base: string, platform: Played, handle: string, n: number | 'avatar'): string {
  return `${base}/pictures/${platform}/${handle}/${n}.jpg`
}
