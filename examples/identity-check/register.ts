/**
 * Plays the register and the address that verdicts are delivered to, to try the example without either:
 * `node examples/identity-check/register.ts`, then a daemon with millrace.yaml.
 */
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { json } from 'node:stream/consumers'

interface Order {
  readonly check_id: string
  looks: number
}

export interface Played {
  readonly server: Server
  /** Orders that were charged for, by reference. */
  readonly orders: ReadonlyMap<string, Order>
  /** What was delivered. */
  readonly delivered: readonly unknown[]
}

export interface RegisterOptions {
  /** Looks at a check until it is decided. */
  readonly looks: number
  readonly pollAfterS: number
  /** The first call of all is answered with "busy"; the first delivery with 500. */
  readonly trouble: boolean
  readonly log?: (line: string) => void
}

export function playRegister({ looks, pollAfterS, trouble, log = () => {} }: RegisterOptions): Played {
  const orders = new Map<string, Order>()
  const delivered: unknown[] = []
  let calls = 0
  let deliveries = 0

  function checkOf(order: Order | undefined): [number, object] {
    if (order === undefined) return [404, { error: { type: 'no_such_check', message: 'no such check' } }]
    const { check_id } = order
    if (order.looks < looks) return [200, { check_id, status: 'pending', poll_after_s: pollAfterS }]
    return [200, { check_id, status: 'verified', score: 0.97, checked_at: new Date().toISOString() }]
  }

  async function answer(request: IncomingMessage): Promise<[number, object?]> {
    const { method, url = '', headers } = request
    const body = method === 'POST' ? await json(request) : undefined
    if (url === '/hooks/verdicts') {
      if (headers.authorization !== 'Bearer try') return [401]
      if (trouble && ++deliveries === 1) return [500]
      delivered.push(body)
      return [204]
    }
    if (headers.authorization !== 'Token try')
      return [401, { error: { type: 'token_expired', message: 'unknown token' } }]
    if (trouble && ++calls === 1) return [503, { error: { type: 'busy', message: 'try later', wait_s: 0.2 } }]
    if (method === 'POST') {
      const { reference, birth_date } = body as { reference: string; birth_date: string }
      if (birth_date > new Date().toISOString())
        return [422, { error: { type: 'bad_order', message: 'birth_date: not born yet' } }]
      const order = orders.get(reference) ?? { check_id: `check-${orders.size + 1}`, looks: 0 }
      orders.set(reference, order)
      return checkOf(order)
    }
    const check_id = url.slice('/v1/checks/'.length)
    const order = [...orders.values()].find((one) => one.check_id === check_id)
    if (order !== undefined) order.looks++
    return checkOf(order)
  }

  const server = createServer((request, response) => {
    answer(request).then(
      ([status, body]) => {
        log(`${request.method} ${request.url} ${status} ${body === undefined ? '' : JSON.stringify(body)}`)
        response.writeHead(status, { 'content-type': 'application/json' })
        response.end(body === undefined ? undefined : JSON.stringify(body))
      },
      () => response.writeHead(400).end(),
    )
  })
  return { server, orders, delivered }
}

if (import.meta.main) {
  const { server } = playRegister({ looks: 3, pollAfterS: 0.5, trouble: true, log: console.log })
  server.listen(8790, '127.0.0.1', () =>
    console.log('the register is at http://127.0.0.1:8790, until Ctrl-C'),
  )
}
