import type { FastifyReply, FastifyRequest } from 'fastify'
import { COMPRESS_FROM_BYTES } from './cache/answer.ts'
import type { AnswerKey } from './cache/answer-key.ts'
import { type Context, clientOf } from './context.ts'

/**
 * Sends a kept answer, or makes it first: 304 when the client has it already, compressed when it takes that. A client may keep
 * it, and asks each time whether it still holds.
 */
export async function sendAnswer(
  context: Context,
  request: FastifyRequest,
  reply: FastifyReply,
  key: AnswerKey,
  make: (signal: AbortSignal) => Promise<unknown>,
): Promise<FastifyReply> {
  const { answer, state } = await context.answers.get(key, {
    signal: request.left,
    admit: () => context.fairness.enter(clientOf(request)),
    make,
  })
  reply.headers({
    etag: answer.etag,
    'cache-control': 'private, no-cache',
    'x-cache': state,
    vary: 'accept-encoding, authorization, x-api-key',
  })
  if (matches(request.headers['if-none-match'], answer.etag)) return reply.code(304).send()
  reply.type('application/json; charset=utf-8')
  if (answer.body.length < COMPRESS_FROM_BYTES || !takesGzip(request.headers['accept-encoding']))
    return reply.send(answer.body)
  return reply.header('content-encoding', 'gzip').send(await answer.gzip())
}

function matches(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false
  const bare = (tag: string) => tag.trim().replace(/^W\//, '')
  return header.trim() === '*' || header.split(',').some((tag) => bare(tag) === bare(etag))
}

/** Piece by piece: one pattern for the whole header would take seconds for one that is made for that. */
function takesGzip(header = ''): boolean {
  let takesAny = false
  for (const range of header.toLowerCase().split(',')) {
    const [coding, ...parameters] = range.split(';').map((part) => part.trim())
    const isTaken = !parameters.some((one) => /^q=0(?:\.0*)?$/.test(one))
    if (coding === 'gzip') return isTaken
    if (coding === '*') takesAny = isTaken
  }
  return takesAny
}
