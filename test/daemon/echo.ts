import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'

/** What an upstream makes of a request: all that the request said, in the places where upstreams repeat it. */
type Answer = (echo: Echo, response: ServerResponse) => void

interface Echo {
  /** Header values, address and body, what is secret first: messages show beginnings. */
  readonly text: string
  readonly platform: string
}

const html = (text: string) =>
  text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;')

const reply =
  (status: number, type: string, body: (echo: Echo) => string | Buffer, headers = {}): Answer =>
  (echo, response) => {
    response.writeHead(status, { 'content-type': type, ...headers }).end(body(echo))
  }
const json = (status: number, body: (echo: Echo) => unknown, headers = {}) =>
  reply(status, 'application/json', (echo) => JSON.stringify(body(echo)), headers)

/** An error in the platform's own shape (190: the token is refused), whose words reach messages by another way than samples of bodies do. */
function ownError({ platform, text }: Echo, code: number): unknown {
  if (platform === 'instagram') return { error: { message: text, code, error_user_msg: text } }
  if (platform === 'youtube') {
    return { error: { code: 403, message: text, errors: [{ reason: 'forbidden', message: text }] } }
  }
  const word = code === 190 ? 'access_token_invalid' : 'scope_not_authorized'
  return { data: {}, error: { code: word, message: text, log_id: text } }
}

const ANSWERS: Readonly<Record<string, Answer>> = {
  '401 in JSON': json(401, (echo) => ownError(echo, 190)),
  '403 in JSON': json(403, (echo) => ownError(echo, 10)),
  '400 in JSON': json(400, (echo) => ownError(echo, 100)),
  '200 with an error': json(200, (echo) => ownError(echo, 10)),
  '200 of another schema': json(200, ({ text }) => ({ sent: text, items: [{ id: text }], data: text })),
  '200 cut short': reply(200, 'application/json', ({ text }) => `{"sent":${JSON.stringify(text)},"items":[`),
  '200 in HTML': reply(200, 'text/html', ({ text }) => `<!doctype html><p>${html(text)}</p>`),
  '500 in HTML': reply(500, 'text/html', ({ text }) => `<html><pre>${html(text)}</pre></html>`),
  '503 in text': reply(503, 'text/plain', ({ text }) => text),
  '400 in text that is JSON in JSON': json(400, ({ text }) => ({ was: JSON.stringify({ sent: text }) })),
  '400 as PHP writes JSON': reply(400, 'application/json', ({ text }) =>
    JSON.stringify({ sent: text }).replaceAll('/', '\\/'),
  ),
  '404 in base64': reply(404, 'text/plain', ({ text }) => Buffer.from(text).toString('base64')),
  '410 as a form': reply(410, 'text/plain', ({ text }) => new URLSearchParams({ sent: text }).toString()),
  '400 with white space': reply(
    400,
    'text/plain',
    ({ text }) => ' '.repeat(5_900 - text.length) + text + text,
  ),
  '429 with a wait': json(429, ({ text }) => ({ error: { message: text, code: 4 } }), { 'retry-after': '1' }),
  redirect: ({ text }, response) => {
    const bytes = encodeURIComponent(text)
    response.writeHead(302, { location: `https://elsewhere.test/${bytes}?sent=${bytes}` }).end()
  },
  headers: ({ text }, response) => {
    const value = encodeURIComponent(text)
    response.writeHead(400, { 'x-echo': value, 'set-cookie': value, 'www-authenticate': `Basic ${value}` })
    response.end()
  },
  'a connection that breaks': ({ text }, response) => {
    response.writeHead(200, { 'content-length': '100000' }).write(text)
    setImmediate(() => response.destroy())
  },
  'what is not HTTP': ({ text }, response) => {
    response.socket?.end(`${text}\r\n\r\n`)
  },
  'what is not gzip': reply(200, 'application/json', ({ text }) => text, { 'content-encoding': 'gzip' }),
}

export const ANSWER_NAMES = Object.keys(ANSWERS)

export interface EchoServer {
  readonly origin: string
  /** Everything that was sent to it, in plain text. */
  readonly received: () => string
  /** Tokens that it has given out, in order. */
  readonly tokens: readonly string[]
}

/**
 * An upstream of all platforms that repeats whatever it is sent. Which way is said by the creator, `m<number of the answer>x`.
 * The first call for TikTok's token is refused in the same manner.
 */
export async function startEcho(t: TestContext): Promise<EchoServer> {
  let received = ''
  const tokens: string[] = []
  let tokenCalls = 0

  const token = (echo: Echo, response: ServerResponse) => {
    tokenCalls += 1
    const value = `act.${randomBytes(24).toString('base64')}`
    if (tokenCalls === 1) return ANSWERS['500 in HTML']!(echo, response)
    tokens.push(value)
    // The third is a token in a reply of another schema, so that nobody learns that it is one.
    json(200, () => ({ access_token: value, expires_in: tokenCalls === 3 ? 'soon' : 7_200 }))(echo, response)
  }

  const server = createServer(async (request, response) => {
    const body = await bodyOf(request)
    const { authorization = '', 'x-goog-api-key': key = '' } = request.headers
    const basic = authorization.startsWith('Basic ')
      ? Buffer.from(authorization.slice(6), 'base64').toString()
      : ''
    const url = request.url ?? ''
    const text = `${authorization} ${basic} ${key} ${query(url)} ${url} ${body}`
    received += `${text} ${decodeURIComponent(body.replaceAll('+', ' '))}\n`
    const platform = url.split('/')[1]!
    if (url.includes('/oauth/token')) return token({ text: `${body} ${text}`, platform }, response)
    const which = Number(/m(\d+)x/.exec(decodeURIComponent(url) + body)?.[1])
    ANSWERS[ANSWER_NAMES[which] ?? '']!({ text, platform }, response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { origin: `http://127.0.0.1:${port}`, received: () => received, tokens }
}

function query(url: string): string {
  return [...new URL(url, 'http://echo.test').searchParams.values()].join(' ')
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = ''
  for await (const chunk of request) body += String(chunk)
  return body
}
