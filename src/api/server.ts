import { randomUUID } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import compress from '@fastify/compress'
import cors from '@fastify/cors'
import swagger from '@fastify/swagger'
import websocket from '@fastify/websocket'
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import { jsonSchemaTransform, validatorCompiler } from 'fastify-type-provider-zod'
import { MillraceError, messageOf } from '../job/errors.ts'
import type { Gate } from './auth/gate.ts'
import { type App, type Context, clientOf } from './context.ts'
import { problemOf, replyToUnreadable } from './failure.ts'
import { documented, OPENAPI, withOurSchemas } from './openapi.ts'
import { ApiProblem, PROBLEM_JSON } from './problem.ts'
import { allows, type Role } from './role.ts'
import { creatorRoutes } from './routes/creators.ts'
import { docsRoutes } from './routes/docs.ts'
import { exportRoute } from './routes/export.ts'
import { type Health, healthRoutes } from './routes/health.ts'
import { overviewRoutes } from './routes/overview.ts'
import { pageRoute } from './routes/page.ts'
import { scrapeRoutes } from './routes/scrapes.ts'
import { STREAM, streamRoute } from './routes/stream.ts'

export interface ApiServerOptions {
  readonly host: string
  /** 0 takes any free port. */
  readonly port: number
  readonly corsOrigins: readonly string[]
  /** How long requests that are under way may go on when it stops. Default 2,000. */
  readonly stopGraceMs?: number | undefined
}

export interface ApiServerPorts {
  readonly context: Context
  readonly gate: Gate
  readonly health: Health
}

const METHODS = ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'QUERY', 'TRACE'] as const
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?)(:\d+)?$/i
const STOP_GRACE_MS = 2_000
const IDLE_LOOK_MS = 50
/** For the reply to what is no request to arrive. */
const UNREADABLE_MS = 1_000
const CONNECTIONS_MAX = 20_000

const SECURITY_HEADERS = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
}

/** Serves the analytics API over HTTP. Everything it answers with comes from its ports. */
export class ApiServer {
  readonly #options: ApiServerOptions
  readonly #ports: ApiServerPorts
  #app: App | undefined
  #streams: { endAll(): void } | undefined
  #url: string | undefined

  constructor(options: ApiServerOptions, ports: ApiServerPorts) {
    this.#options = options
    this.#ports = ports
  }

  /** `http://…` without a slash at the end; undefined while it does not listen. */
  get url(): string | undefined {
    return this.#url
  }

  /** Listens. Rejects with MillraceError (`API_LISTEN`) that names the setting. */
  async start(): Promise<void> {
    if (this.#app !== undefined) return
    const { host, port } = this.#options
    const app = await this.#build()
    this.#app = app
    try {
      await app.listen({ host, port, backlog: 1024 })
    } catch (cause) {
      throw new MillraceError('API_LISTEN', `api.port ${port} on ${host}: ${messageOf(cause)}`, { cause })
    }
    const { address, family, port: taken } = app.server.address() as AddressInfo
    this.#url = `http://${family === 'IPv6' ? `[${address}]` : address}:${taken}`
  }

  /** Takes no more requests, lets those under way end, and closes. Idempotent. */
  async stop(): Promise<void> {
    const app = this.#app
    if (app === undefined) return
    this.#app = undefined
    this.#url = undefined
    this.#streams?.endAll()
    const forced = setTimeout(() => {
      app.server.closeAllConnections()
      for (const socket of app.websocketServer.clients) socket.terminate()
    }, this.#options.stopGraceMs ?? STOP_GRACE_MS)
    // A connection whose request ends meanwhile would be kept for the next one, which does not come.
    const idle = setInterval(() => app.server.closeIdleConnections(), IDLE_LOOK_MS)
    await app.close()
    clearInterval(idle)
    clearTimeout(forced)
  }

  /** The OpenAPI document, without listening: for those who generate from it. */
  async document(): Promise<Readonly<Record<string, unknown>>> {
    const app = await this.#build()
    await app.ready()
    const document = app.swagger() as unknown as Record<string, unknown>
    await app.close()
    return document
  }

  async #build(): Promise<App> {
    const { context, health } = this.#ports
    const app: App = Fastify({
      logger: false,
      genReqId: (request) => requestIdOf(request.headers['x-request-id']),
      requestIdHeader: false,
      bodyLimit: 64 * 1024,
      // 200 characters, of up to four bytes, of three characters each.
      routerOptions: { maxParamLength: 2_400 },
      requestTimeout: 30_000,
      keepAliveTimeout: 72_000,
      // By default it is looked at twice a minute whose time is over.
      http: { maxHeaderSize: 16 * 1024, headersTimeout: 10_000, connectionsCheckingInterval: 2_000 },
      forceCloseConnections: 'idle',
      exposeHeadRoutes: true,
      clientErrorHandler: (error, socket) => {
        if (error.code !== 'ECONNRESET' && socket.writable) socket.end(replyToUnreadable(error.code))
        // Not at once: while the client still sends, that would take the reply away again.
        setTimeout(() => socket.destroy(), UNREADABLE_MS).unref()
      },
      frameworkErrors: (error, request, reply) => {
        void this.#fail(error, request as unknown as FastifyRequest, reply as unknown as FastifyReply)
      },
    })
    app.server.maxConnections = CONNECTIONS_MAX
    // JSON is all that is taken.
    app.removeContentTypeParser('text/plain')
    app.setValidatorCompiler(validatorCompiler)
    // Replies are what their queries made; that they are what their schemas say, the tests see to.
    app.setSerializerCompiler(() => (data) => JSON.stringify(data))
    app.decorateRequest('principal')
    app.decorateRequest('left')
    app.setErrorHandler((error, request, reply) => this.#fail(error, request, reply))
    app.setNotFoundHandler((request, reply) =>
      this.#fail(new ApiProblem('not_found', 'There is no such route; see /docs.'), request, reply),
    )
    app.addHook('onRequest', (request, reply) => this.#enter(request, reply))
    app.addHook('onResponse', async (request, reply) => {
      const route = request.routeOptions.url ?? 'none'
      const status = `${Math.floor(reply.statusCode / 100)}xx`
      context.metrics.api_request_duration_seconds.observe({ route, status }, reply.elapsedTime / 1000)
    })

    const { corsOrigins } = this.#options
    if (corsOrigins.length > 0) {
      await app.register(cors, {
        origin: [...corsOrigins],
        methods: ['GET', 'HEAD', 'POST'],
        exposedHeaders: ['etag', 'location', 'ratelimit', 'ratelimit-policy', 'retry-after', 'x-request-id'],
      })
    }
    await app.register(compress, { threshold: 1_024, encodings: ['gzip'], globalDecompression: false })
    await app.register(websocket, {
      options: { maxPayload: 1_024 },
      errorHandler: (_error, socket) => socket.terminate(),
    })
    await app.register(swagger, {
      openapi: OPENAPI,
      transform: documented(jsonSchemaTransform),
      transformObject: withOurSchemas,
    })
    const taken = new Map<string, Set<string>>()
    app.addHook('onRoute', ({ url, method }) => {
      const methods = taken.get(url) ?? new Set()
      for (const one of [method].flat()) methods.add(one)
      taken.set(url, methods)
    })
    healthRoutes(app, health)
    creatorRoutes(app, context)
    overviewRoutes(app, context)
    scrapeRoutes(app, context)
    exportRoute(app, context)
    this.#streams = streamRoute(app, context)
    docsRoutes(app)
    await pageRoute(app)
    this.#refuseOtherMethods(app, taken)
    return app
  }

  /** Fastify itself would say that there is no such route. */
  #refuseOtherMethods(app: App, taken: ReadonlyMap<string, ReadonlySet<string>>): void {
    for (const [url, methods] of [...taken].map(([path, some]) => [path, new Set(some)] as const)) {
      const others = METHODS.filter((method) => !methods.has(method))
      app.route({
        method: [...others],
        url,
        schema: { hide: true },
        config: { allow: [...methods].join(', ') },
        // `enter` has refused it before.
        handler: (_request, reply) => reply.code(405).send(),
      })
    }
  }

  async #enter(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    reply.headers(SECURITY_HEADERS).header('x-request-id', request.id)
    this.#guardOpenServer(request)
    const { role, allow } = request.routeOptions.config
    if (allow !== undefined) {
      const expected = `Found ${request.method}, expected ${allow}.`
      throw new ApiProblem('method_not_allowed', expected, { headers: { allow } })
    }
    const wantsSocket = request.headers.upgrade?.toLowerCase() === 'websocket'
    if (wantsSocket && request.routeOptions.url !== undefined && request.routeOptions.url !== STREAM)
      throw new ApiProblem('invalid_request', `Only ${STREAM} takes a WebSocket.`)
    if (role === undefined) return
    const encoding = request.headers['content-encoding'] ?? 'identity'
    if (request.method === 'POST' && encoding !== 'identity')
      throw new ApiProblem('unsupported_media_type', 'Expected a body without `content-encoding`.')
    request.principal = await this.#admit(request)
    reply.headers(
      await this.#ports.context.fairness.request(clientOf(request), request.routeOptions.url ?? ''),
    )
    this.#authorise(request, role)
    const control = new AbortController()
    request.left = control.signal
    reply.raw.once('close', () => {
      if (!reply.raw.writableFinished) control.abort(new Error('the client has left'))
    })
  }

  async #admit(request: FastifyRequest) {
    const { gate, context } = this.#ports
    try {
      return await gate.admit(request.headers, request.ip)
    } catch (error) {
      // Who guesses is slowed down like everybody else.
      await context.fairness.request(`address:${request.ip}`, 'refused')
      throw error
    }
  }

  #authorise({ principal }: FastifyRequest, needed: Role): void {
    if (allows(principal.role, needed)) return
    throw new ApiProblem('forbidden', `Your role is ${principal.role}, expected ${needed}.`)
  }

  /**
   * Without a secret the port itself is the secret: a page of another site must not reach it through somebody's browser,
   * neither under a name of its own that points to loopback, nor from where it is.
   */
  #guardOpenServer({ headers }: FastifyRequest): void {
    if (!this.#ports.gate.open) return
    if (!LOOPBACK.test(headers.host ?? ''))
      throw new ApiProblem('misdirected', 'Without api.auth this is for loopback only: open it as localhost.')
    const { origin } = headers
    const isForeign = origin !== undefined && origin !== `http://${headers.host}`
    if (
      (isForeign && !this.#options.corsOrigins.includes(origin)) ||
      headers['sec-fetch-site'] === 'cross-site'
    )
      throw new ApiProblem('forbidden', 'Not for pages of another site.')
  }

  #fail(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply | undefined {
    const { log } = this.#ports.context
    // Nobody is there to be told.
    if (request.left?.aborted === true) {
      reply.raw.destroy()
      return undefined
    }
    // A refused upgrade: its socket is no longer the HTTP server's, which would wait for it for ever when it closes.
    if (request.headers.upgrade !== undefined)
      reply.raw.once('finish', () => request.raw.socket.destroySoon())
    const problem = problemOf(error)
    if (problem.status >= 500)
      log.error({ err: problem.cause ?? error, request_id: request.id }, `the API: ${problem.message}`)
    reply.headers({ ...SECURITY_HEADERS, 'x-request-id': request.id, 'cache-control': 'no-store' })
    if (problem.code === 'unauthenticated') reply.header('www-authenticate', 'Bearer')
    return reply
      .code(problem.status)
      .headers(problem.headers)
      .type(PROBLEM_JSON)
      .send(JSON.stringify(problem.body(request.id)))
  }
}

/** The caller's own, if it is a plain one. */
function requestIdOf(given: string | string[] | undefined): string {
  return typeof given === 'string' && /^[\w.-]{1,128}$/.test(given) ? given : randomUUID()
}
