import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { messageOf } from '../job/errors.ts'
import { addressOf, closed, type ListenOptions, listen, QUIET } from './listen.ts'
import { MetricsPage, type MetricsPagePorts } from './metrics-page.ts'
import { secure, send } from './respond.ts'

const CONNECTIONS_MAX = 64

/** A port that answers `/metrics` and nothing else, for a process whose own port is open to others. */
export class MetricsServer {
  readonly #options: ListenOptions
  readonly #page: MetricsPage
  readonly #ports: MetricsPagePorts
  #server: Server | undefined

  constructor(options: ListenOptions, ports: MetricsPagePorts) {
    this.#options = options
    this.#ports = ports
    this.#page = new MetricsPage(ports)
  }

  /** Listens; resolves with the address of the page. Throws MillraceError (`ADMIN_LISTEN`) naming the setting when it cannot. */
  async start(): Promise<string> {
    const server = createServer(QUIET, (request, response) => {
      this.#answer(request, response).catch((error: unknown) => this.#fail(response, error))
    })
    server.maxHeadersCount = 64
    server.maxConnections = CONNECTIONS_MAX
    await listen(server, this.#options)
    server.on('error', (error) => this.#ports.log.error({ err: error }, 'the metrics port has a problem'))
    this.#server = server
    return `${addressOf(server).url}/metrics`
  }

  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server !== undefined) await closed(server)
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    secure(response)
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD')
      return send(response, 405, 'text/plain', 'This port only answers GET and HEAD.\n')
    }
    if ((request.url ?? '').split('?', 1)[0] === '/metrics') return await this.#page.answer(request, response)
    send(response, 404, 'text/plain', 'Here is /metrics.\n')
  }

  #fail(response: ServerResponse, error: unknown): void {
    this.#ports.log.error({ err: error }, 'the metrics could not be read')
    if (response.headersSent) response.destroy()
    else send(response, 500, 'text/plain', `${messageOf(error, 300)}\n`)
  }
}
