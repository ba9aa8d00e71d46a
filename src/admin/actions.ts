import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { z } from 'zod'
import { isReason, type Reason } from '../job/reason.ts'
import type { Log } from '../telemetry/log.ts'
import { sendJson } from './respond.ts'

/** What the console may change. Each resolves with null, or with the sentence that says why not. */
export interface Actions {
  pause(platform: string, because: string): Promise<string | null>
  resume(platform: string): Promise<string | null>
  /** Begins to send the dead letters of a reason back; how far it has come is in the status. */
  replay(reason: Reason): Promise<string | null>
}

export interface ActionDoorOptions {
  /** Undefined: nothing may be changed. */
  readonly token: string | undefined
  readonly actions: Actions
  readonly log: Log
  /** Unix ms. */
  readonly now?: () => number
}

const BODY_BYTES_MAX = 2_048
/** Wrong tokens in a minute, whoever they come from, after which nobody is let in until it is over. */
const WRONG_MAX = 10
const WRONG_WINDOW_MS = 60_000

const PAUSE = /^\/platforms\/([a-z][a-z0-9_]{0,63})\/(pause|resume)$/

const pauseBody = z.object({ because: z.string().trim().max(200).default('') })
const replayBody = z.object({ reason: z.string().max(64) })

/**
 * The way in for whoever changes something. The token comes in the Authorization header: a page of another site cannot set it
 * without being asked first, which this port never answers, so there is nothing to forge; it never stands in an address or a
 * cookie. It is compared in constant time, and guessed ten times a minute at most.
 */
export class ActionDoor {
  readonly #digest: Buffer | undefined
  readonly #actions: Actions
  readonly #log: Log
  readonly #now: () => number
  #wrong: number[] = []

  constructor({ token, actions, log, now = Date.now }: ActionDoorOptions) {
    this.#digest = token === undefined ? undefined : digestOf(token)
    this.#actions = actions
    this.#log = log
    this.#now = now
  }

  /** Whether there is a token at all. */
  get isOpen(): boolean {
    return this.#digest !== undefined
  }

  /** Whether a path is one of ours; anything else is only read. */
  static has(path: string): boolean {
    return PAUSE.test(path) || path === '/dead-letters/replay' || path === '/token'
  }

  async answer(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const says = (status: number, message: string) =>
      sendJson(response, status, JSON.stringify({ ok: status === 200, message }))
    const refused = this.#refusal(request)
    if (refused !== undefined) {
      // The rest of what it sends is not worth reading.
      response.setHeader('connection', 'close')
      if (refused.status === 401) response.setHeader('www-authenticate', 'Bearer')
      return says(refused.status, refused.message)
    }
    const text = await bodyOf(request)
    const body = text === undefined ? undefined : jsonOf(text)
    if (body === undefined) return says(400, `Expected a JSON object of at most ${BODY_BYTES_MAX} bytes.`)
    if (path === '/token') return says(200, 'The token is right.')
    const problem = await this.#act(path, body)
    if (problem === undefined) return says(400, 'Expected what the console sends.')
    this.#log.warn(
      { action: path, body, from: request.socket.remoteAddress, problem },
      'somebody changed something in the console',
    )
    return problem === null ? says(200, 'Done.') : says(409, problem)
  }

  /** Undefined for a body that is not what was expected. */
  async #act(path: string, body: unknown): Promise<string | null | undefined> {
    const [, platform = '', verb] = PAUSE.exec(path) ?? []
    if (verb === 'resume') return this.#actions.resume(platform)
    if (verb === 'pause') {
      const parsed = pauseBody.safeParse(body)
      return parsed.success ? this.#actions.pause(platform, parsed.data.because) : undefined
    }
    const parsed = replayBody.safeParse(body)
    if (!parsed.success || !isReason(parsed.data.reason)) return undefined
    return this.#actions.replay(parsed.data.reason)
  }

  #refusal(request: IncomingMessage): { readonly status: number; readonly message: string } | undefined {
    if (this.#digest === undefined)
      return { status: 403, message: 'This console only shows: admin.token is not set.' }
    const type = request.headers['content-type']?.split(';', 1)[0]?.trim()
    if (type !== 'application/json') return { status: 415, message: 'Expected application/json.' }
    const nowMs = this.#now()
    this.#wrong = this.#wrong.filter((at) => nowMs - at < WRONG_WINDOW_MS)
    if (this.#wrong.length >= WRONG_MAX)
      return { status: 429, message: 'Too many wrong tokens: wait a minute.' }
    const given = /^Bearer (\S{1,200})$/.exec(request.headers.authorization ?? '')?.[1]
    if (given !== undefined && timingSafeEqual(digestOf(given), this.#digest)) return undefined
    if (given !== undefined) {
      this.#wrong.push(nowMs)
      this.#log.warn({ from: request.socket.remoteAddress }, 'a wrong admin token was given')
    }
    return { status: 401, message: given === undefined ? 'The admin token is missing.' : 'Wrong token.' }
  }
}

/** Of equal length whatever the token's, so that comparing tells nothing of that either. */
function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}

/** Undefined when it is too long. */
async function bodyOf(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > BODY_BYTES_MAX) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function jsonOf(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}
