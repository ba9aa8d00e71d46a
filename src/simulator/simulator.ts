import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Accounts } from './accounts.ts'
import { readBody } from './body.ts'
import { Population } from './creators.ts'
import { type BrokenReply, type Fault, Faults } from './faults.ts'
import { Growth } from './growth.ts'
import { playInstagram } from './instagram.ts'
import { completeOptions, MONOTONIC, PLAYED, type Played, type SimulatorOptions } from './options.ts'
import { Oracle, type OracleReport, type Verdict } from './oracle.ts'
import { Pictures } from './pictures.ts'
import type { PlayedReply, Player } from './play.ts'
import { Quotas } from './quotas.ts'
import { Standstill } from './standstill.ts'
import { playTiktok } from './tiktok.ts'
import { playYoutube } from './youtube.ts'

/** Longer than a client keeps an idle connection, so that it is never the server that closes one in use. */
const KEEP_ALIVE_MS = 65_000
/** Connections that may wait to be accepted: thousands come at once. */
const BACKLOG = 8192

export interface Simulator {
  /** Listens. Twice is once. */
  start(): Promise<{ readonly port: number }>
  /** Ends all connections. Twice is once. */
  stop(): Promise<void>
  /** What `GET /oracle` answers. */
  report(): OracleReport
}

/**
 * Plays YouTube, Instagram and TikTok on one port, by path: `/youtube`, `/instagram` and `/tiktok` are their origins, `/pictures`
 * holds what they point to, `GET /oracle` tells how well the limits were kept, and `POST /oracle/reset` starts counting afresh.
 * Made to run in a process of its own; everything it invents follows from the seed and the time.
 */
export function createSimulator(options: Partial<SimulatorOptions> = {}): Simulator {
  return new PlayedPlatforms(completeOptions(options))
}

/** How one call is going to be answered. */
interface Answering {
  readonly player: Player
  readonly refusal: PlayedReply | undefined
  readonly fault: Fault | undefined
  readonly ask: () => PlayedReply
  readonly answered: (status: number) => void
}

class PlayedPlatforms implements Simulator {
  readonly #options: SimulatorOptions
  readonly #oracle: Oracle
  readonly #standstill = new Standstill()
  readonly #faults: Faults
  readonly #quotas: Quotas
  readonly #pictures: Pictures
  readonly #players: Readonly<Record<Played, Player>>
  #server: Server | undefined

  constructor(options: SimulatorOptions) {
    this.#options = options
    const { seed, creators: count, missingShare, privateShare } = options
    this.#oracle = new Oracle(options.limits, options.wallClock() - options.clock())
    this.#faults = new Faults(options)
    this.#quotas = new Quotas(options.limits.dailyQuota ?? {})
    this.#pictures = new Pictures(options)
    const world = {
      seed,
      population: new Population({ seed, count, missingShare, privateShare }),
      growth: new Growth(options),
      accounts: new Accounts(options.credentials, options.accounts),
      tokenLifeS: options.tokenLifeS,
      usedPercent: (platform: Played) => this.#oracle.usedPercent(platform, options.clock()),
    }
    this.#players = {
      instagram: playInstagram(world),
      tiktok: playTiktok(world),
      youtube: playYoutube(world),
    }
  }

  async start(): Promise<{ readonly port: number }> {
    if (this.#server === undefined) {
      const server = createServer(
        { keepAliveTimeout: KEEP_ALIVE_MS, requestTimeout: 0 },
        (request, response) => {
          this.#handle(request, response)
        },
      )
      this.#server = server
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject)
        server.listen({ host: this.#options.host, port: this.#options.port, backlog: BACKLOG }, resolve)
      })
      // On a clock of somebody's own nobody knows how long a standstill was.
      if (this.#options.clock === MONOTONIC) this.#standstill.start()
    }
    return { port: (this.#server.address() as AddressInfo).port }
  }

  async stop(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    this.#standstill.stop()
    await new Promise<void>((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
  }

  report(): OracleReport {
    return this.#oracle.report()
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    // First of all: this is the moment that the limits are about.
    const arrivedMs = this.#options.clock()
    const url = request.url ?? '/'
    const slash = url.indexOf('/', 1)
    const room = slash < 0 ? url.slice(1) : url.slice(1, slash)
    if (isPlayed(room)) {
      this.#play(room, url.slice(slash < 0 ? url.length : slash), arrivedMs, request, response)
      return
    }
    // A GET has no body worth waiting for.
    request.resume()
    if (room === 'pictures') this.#picture(url.slice(slash + 1), request, response)
    else if (url === '/oracle' && request.method === 'GET') this.#json(response, 200, this.report())
    else if (url === '/oracle/reset' && request.method === 'POST') {
      this.#oracle.reset()
      this.#json(response, 200, { reset: true })
    } else if (url === '/healthz') this.#json(response, 200, { ok: true })
    else {
      const rooms = [...PLAYED.map((name) => `/${name}`), '/pictures', '/oracle', '/oracle/reset', '/healthz']
      this.#json(response, 404, { error: `${url}: expected one of ${rooms.join(', ')}` })
    }
  }

  #play(
    platform: Played,
    target: string,
    arrivedMs: number,
    request: IncomingMessage,
    response: ServerResponse,
  ): void {
    const player = this.#players[platform]
    const mark = target.indexOf('?')
    const path = mark < 0 ? target : target.slice(0, mark)
    const query = new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1))
    const endpoint = player.endpointOf(path, query)
    const { method = 'GET', headers } = request
    const account = player.accountOf({ query, headers, nowMs: this.#options.wallClock() })
    const verdict = this.#oracle.arrive(platform, endpoint, arrivedMs, account, this.#standstill.waitedMs())

    const answer = (body: string) => {
      const nowMs = this.#options.wallClock()
      const refusal = this.#refusal(platform, endpoint, account, verdict, nowMs)
      const fault = refusal === undefined ? this.#faults.draw() : undefined
      if (fault !== undefined) this.#oracle.injected(fault)
      const ask = () =>
        player.answer(endpoint, {
          method,
          path,
          query,
          headers,
          body,
          nowMs,
          base: `http://${headers.host ?? 'localhost'}`,
        })
      const delayMs = this.#faults.delayMs()
      const reply = () => {
        this.#oracle.leave()
        if (this.#options.rateHeaders && platform === 'tiktok') this.#tell(response, platform, endpoint)
        const answered = (status: number) => this.#oracle.answered(platform, endpoint, status)
        this.#reply(response, { player, refusal, fault, ask, answered })
      }
      if (delayMs === 0) reply()
      else setTimeout(reply, delayMs)
    }
    if (request.method === 'POST') readBody(request, response, answer, () => this.#oracle.leave())
    else {
      request.resume()
      answer('')
    }
  }

  #refusal(
    platform: Played,
    endpoint: string | undefined,
    account: number | undefined,
    verdict: Verdict,
    nowMs: number,
  ): PlayedReply | undefined {
    const player = this.#players[platform]
    if (!verdict.admitted) return player.throttle(verdict.waitMs, verdict.level)
    if (endpoint === 'token' || this.#quotas.take(platform, account, nowMs)) return undefined
    this.#oracle.quotaRefusals += 1
    return player.quotaSpent()
  }

  /** What is left, as of the reply: others have arrived meanwhile. */
  #tell(response: ServerResponse, platform: Played, endpoint: string | undefined): void {
    if (response.destroyed) return
    for (const [name, value] of this.#oracle.rateFields(platform, endpoint, this.#options.clock())) {
      response.setHeader(name, value)
    }
  }

  #reply(response: ServerResponse, { player, refusal, fault, ask, answered }: Answering): void {
    if (response.destroyed) return
    const send = (reply: PlayedReply) => {
      answered(reply.status)
      this.#send(response, reply)
    }
    if (refusal !== undefined) {
      send(refusal)
      return
    }
    switch (fault) {
      case undefined:
        send(ask())
        break
      case 'error':
        send(player.failure())
        break
      case 'throttle':
        send(player.throttle(this.#faults.throttleMs, null))
        break
      case 'torn':
        answered(200)
        this.#tear(response, ask().body)
        break
      default:
        send(broken(fault, player, ask))
    }
  }

  /** Promises a whole body and ends the connection in the middle of it. */
  #tear(response: ServerResponse, body: string): void {
    response.writeHead(200, { 'content-type': JSON_TYPE, 'content-length': body.length })
    response.write(body.slice(0, body.length >> 1), () => response.destroy())
  }

  #send(response: ServerResponse, reply: PlayedReply): void {
    const headers = ['content-length', String(reply.body.length), ...(reply.headers ?? [])]
    if (!headers.includes('content-type')) headers.push('content-type', JSON_TYPE)
    response.writeHead(reply.status, headers)
    response.end(reply.body, 'latin1')
  }

  #picture(path: string, request: IncomingMessage, response: ServerResponse): void {
    this.#oracle.pictures += 1
    if (!/^(?:instagram|tiktok|youtube)\/[\w.-]{1,60}\/(?:avatar|\d{1,7})\.jpg$/.test(path)) {
      this.#json(response, 404, { error: 'expected /pictures/<platform>/<creator>/<avatar or number>.jpg' })
      return
    }
    const { etag, lastModified } = this.#pictures.validators(path)
    const known = ['etag', etag, 'last-modified', lastModified, 'cache-control', 'public, max-age=60']
    // RFC 9110, 13.2.2: an entity tag wins over a date.
    const tag = request.headers['if-none-match']
    const since = Date.parse(request.headers['if-modified-since'] ?? '')
    if (tag === undefined ? since >= Date.parse(lastModified) : tag.includes(etag)) {
      this.#oracle.picturesNotModified += 1
      response.writeHead(304, known).end()
      return
    }
    this.#pictures.picture(path).then(
      ({ body }) => {
        const headers = [...known, 'content-type', 'image/jpeg', 'content-length', String(body.length)]
        response.writeHead(200, headers).end(body)
      },
      (error: unknown) => this.#json(response, 500, { error: String(error) }),
    )
  }

  #json(response: ServerResponse, status: number, value: unknown): void {
    const body = JSON.stringify(value)
    response
      .writeHead(status, { 'content-type': JSON_TYPE, 'content-length': Buffer.byteLength(body) })
      .end(body)
  }
}

const JSON_TYPE = 'application/json; charset=utf-8'
const HTML =
  '<!doctype html><html><head><title>Sorry</title></head><body>Please try again later.</body></html>'

function broken(fault: BrokenReply, player: Player, ask: () => PlayedReply): PlayedReply {
  switch (fault) {
    case 'html':
      return { status: 200, body: HTML, headers: ['content-type', 'text/html; charset=utf-8'] }
    case 'truncated': {
      const { status, body } = ask()
      return { status, body: body.slice(0, body.length >> 1) }
    }
    case 'error_body':
      return { status: 200, body: player.errorBody() }
    case 'empty':
      return { status: 200, body: '' }
  }
}

function isPlayed(name: string): name is Played {
  return (PLAYED as readonly string[]).includes(name)
}
