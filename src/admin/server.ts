import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { messageOf } from '../job/errors.ts'
import { REASONS } from '../job/reason.ts'
import { shared } from '../lib/shared.ts'
import { LateError, within } from '../lib/within.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { ActionDoor, type Actions } from './actions.ts'
import { EventStream } from './events.ts'
import { Heartbeat } from './heartbeat.ts'
import { type AdminAddress, addressOf, closed, listen, QUIET } from './listen.ts'
import { MetricsPage } from './metrics-page.ts'
import { type ConsolePage, loadConsolePage } from './page.ts'
import { PictureDoor } from './picture-door.ts'
import { secure, send, sendJson } from './respond.ts'
import type { ConsoleEvent, ConsoleGreeting, Status, StatusSource } from './status.ts'

export interface AdminOptions {
  /** Default 127.0.0.1: there is no password, so who should see it from elsewhere is for you to decide. */
  readonly host: string
  /** 0 takes any free port; `start` returns which. */
  readonly port: number
  /** Who has it may change something; without it nobody can. */
  readonly token?: string | undefined
  /** How long the event loop may stand still before `/livez` fails. Default 10,000. */
  readonly standstillMsMax?: number
  /** How long the source may take for the status, or for a picture. Default 5,000. */
  readonly answerMsMax?: number
  /** Between two events of the console. Default 1,000. */
  readonly eventsIntervalMs?: number
  /** Consoles that may look on at once. Default 16. */
  readonly eventClientsMax?: number
  /** Unread bytes of a console after which it is dropped. Default 1 MiB. */
  readonly eventBacklogBytesMax?: number
}

export interface AdminPorts {
  readonly source: StatusSource
  readonly metrics: Metrics
  readonly log: Log
  /** What may be changed by who has the token. */
  readonly actions?: Actions
  /** Called ahead of every scrape: whatever is measured at that moment, such as EventLoopMonitor.record. */
  readonly beforeScrape?: readonly (() => void | Promise<void>)[]
}

const ANSWER_MS_MAX = 5_000
const CONNECTIONS_MAX = 256

/**
 * The admin port: `/metrics`, `/livez`, `/readyz`, `/status`, the console at `/` and its `/events`. It only reads, except for
 * what the ActionDoor lets in. Start it first and stop it last, so that probes are answered throughout.
 */
export class AdminServer {
  readonly #options: AdminOptions
  readonly #ports: AdminPorts
  readonly #heartbeat: Heartbeat
  readonly #events: EventStream
  readonly #metrics: MetricsPage
  readonly #status = shared(() => this.#askStatus())
  readonly #pictures: PictureDoor
  readonly #actions: ActionDoor | undefined
  #page: ConsolePage | undefined
  #server: Server | undefined
  #address: AdminAddress | undefined

  constructor(options: AdminOptions, ports: AdminPorts) {
    this.#options = options
    this.#ports = ports
    const { standstillMsMax, eventsIntervalMs, eventClientsMax, eventBacklogBytesMax, token } = options
    const { source, actions, log } = ports
    this.#metrics = new MetricsPage(ports)
    this.#pictures = new PictureDoor(source.picture?.bind(source))
    this.#actions = actions && new ActionDoor({ token, actions, log })
    this.#heartbeat = new Heartbeat(standstillMsMax === undefined ? {} : { standstillMsMax })
    this.#events = new EventStream({
      produce: () => this.#event(),
      ...(eventsIntervalMs !== undefined && { intervalMs: eventsIntervalMs }),
      ...(eventClientsMax !== undefined && { clientsMax: eventClientsMax }),
      ...(eventBacklogBytesMax !== undefined && { backlogBytesMax: eventBacklogBytesMax }),
    })
  }

  /** Where it listens; undefined while it does not. */
  get address(): AdminAddress | undefined {
    return this.#address
  }

  /** Listens. Throws MillraceError (`ADMIN_LISTEN`) naming address and setting when it cannot. */
  async start(): Promise<AdminAddress> {
    if (this.#address !== undefined) return this.#address
    this.#page = await loadConsolePage()
    const server = createServer(QUIET, (request, response) => {
      this.#answer(request, response).catch((error: unknown) => this.#fail(request, response, error))
    })
    server.maxHeadersCount = 64
    server.maxConnections = CONNECTIONS_MAX
    await listen(server, this.#options)
    server.on('error', (error) => this.#ports.log.error({ err: error }, 'the admin server has a problem'))
    this.#server = server
    this.#heartbeat.start()
    this.#address = addressOf(server)
    return this.#address
  }

  async stop(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    this.#address = undefined
    this.#heartbeat.stop()
    this.#events.stop()
    await closed(server)
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    secure(response)
    const path = (request.url ?? '/').split('?', 1)[0]!
    if (request.method === 'POST' && this.#actions !== undefined && ActionDoor.has(path)) {
      const refusal = this.#refusal(request)
      if (refusal !== undefined) return send(response, ...refusal)
      return this.#actions.answer(path, request, response)
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD')
      return send(response, 405, 'text/plain', 'This port only answers GET and HEAD here.\n')
    }
    switch (path) {
      case '/livez':
        return this.#livez(response)
      case '/readyz': {
        const { ready, reasons } = this.#ports.source.ready()
        return sendJson(response, ready ? 200 : 503, JSON.stringify({ ready, reasons }))
      }
      case '/metrics':
        return await this.#metrics.answer(request, response)
    }
    // Beyond this line is what people look at in a browser, and what another site's page must not reach through it.
    const refusal = this.#refusal(request)
    // A link to the page itself may stand anywhere.
    if (refusal !== undefined && !(path === '/' && refusal[0] === 403)) return send(response, ...refusal)
    if (path === '/') return this.#sendPage(request, response)
    if (path === '/status') return sendJson(response, 200, JSON.stringify(await this.#status()))
    if (path === '/events') return this.#connect(request, response)
    if (path.startsWith('/pictures/')) return this.#picture(path, response)
    send(response, 404, 'text/plain', 'Here are /, /metrics, /livez, /readyz, /status and /events.\n')
  }

  #livez(response: ServerResponse): void {
    const { alive, standstillMs } = this.#heartbeat.check()
    const reason = `The event loop stood still for ${(standstillMs / 1000).toFixed(1)} s.`
    sendJson(response, alive ? 200 : 503, JSON.stringify(alive ? { alive } : { alive, reason }))
  }

  #connect(request: IncomingMessage, response: ServerResponse): void {
    if (this.#events.full) {
      response.setHeader('retry-after', '10')
      send(response, 503, 'text/plain', 'As many consoles as allowed look on already.\n')
    } else if (request.method === 'HEAD') {
      send(response, 200, 'text/event-stream; charset=utf-8', '')
    } else {
      const history = this.#ports.source.history?.report ?? null
      const greeting: ConsoleGreeting = { history, reasons: REASONS }
      this.#events.add(response, `event: hello\ndata: ${JSON.stringify(greeting)}\n\n`)
    }
  }

  #sendPage(request: IncomingMessage, response: ServerResponse): void {
    const { html, gzipped, contentSecurityPolicy } = this.#page!
    response.setHeader('content-security-policy', contentSecurityPolicy)
    response.setHeader('vary', 'accept-encoding')
    const type = 'text/html; charset=utf-8'
    const isGzipped = /\bgzip\b/.test(String(request.headers['accept-encoding'] ?? ''))
    if (isGzipped) response.setHeader('content-encoding', 'gzip')
    send(response, 200, type, isGzipped ? gzipped : html)
  }

  /** Only pictures that a status has named lately: the port is no door into the store. */
  async #picture(path: string, response: ServerResponse): Promise<void> {
    const opened = this.#inTime(this.#pictures.open(path.slice(1)), 'the picture')
    // A store that is slow is no error of ours: the page asks again.
    const picture = await opened.catch((error: unknown) => {
      if (error instanceof LateError) return 'busy' as const
      throw error
    })
    if (picture === null) return send(response, 404, 'text/plain', 'No such picture among the newest.\n')
    if (picture === 'busy') {
      response.setHeader('retry-after', '1')
      return send(response, 503, 'text/plain', 'Too many pictures are read already, or the store is slow.\n')
    }
    // The key is made of the content's hash, so what it names never changes.
    response.setHeader('cache-control', 'private, max-age=3600, immutable')
    send(response, 200, picture.type, picture.body)
  }

  /**
   * A page of another site can point its own host name at 127.0.0.1 and read what it finds there (DNS rebinding); the
   * Host header gives it away. Metrics and probes are left out: scrapers reach loopback under many names.
   */
  #misdirected(request: IncomingMessage): boolean {
    if (!LOOPBACK.test(this.#options.host)) return false
    const host = (request.headers.host ?? '').replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')
    return !LOOPBACK.test(host)
  }

  /** What keeps pages of other sites from what stands here; undefined for who may have it. */
  #refusal(request: IncomingMessage): [status: number, type: string, text: string] | undefined {
    if (this.#misdirected(request))
      return [421, 'text/plain', 'The console listens on loopback only: open it as localhost.\n']
    const site = request.headers['sec-fetch-site']
    if (site === 'cross-site' || (request.method === 'POST' && site === 'same-site'))
      return [403, 'text/plain', 'Not for pages of another site.\n']
    return undefined
  }

  async #event(): Promise<string> {
    const status = await this.#status()
    const { ready, history } = { ready: this.#ports.source.ready(), history: this.#ports.source.history }
    const canChange = this.#actions?.isOpen === true
    return JSON.stringify({
      ...status,
      ready,
      canChange,
      point: history?.last ?? null,
    } satisfies ConsoleEvent)
  }

  async #askStatus(): Promise<Status> {
    const status = await this.#inTime(this.#ports.source.status(), 'the status')
    this.#pictures.name(status.pictures.newest)
    return status
  }

  #inTime<T>(work: T | Promise<T>, what: string): Promise<T> {
    const { answerMsMax = ANSWER_MS_MAX } = this.#options
    return within(work, answerMsMax, () => new LateError(`${what} did not come within ${answerMsMax} ms`))
  }

  #fail(request: IncomingMessage, response: ServerResponse, error: unknown): void {
    this.#ports.log.error({ err: error, path: request.url }, 'the admin server could not answer')
    if (response.headersSent) response.destroy()
    else send(response, 500, 'text/plain', `${messageOf(error, 300)}\n`)
  }
}

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1)$/i
