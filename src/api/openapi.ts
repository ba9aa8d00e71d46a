import type { FastifyDynamicSwaggerOptions as SwaggerOptions } from '@fastify/swagger'
import type { FastifySchema } from 'fastify'
import { type jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod'
import { version } from '../version.ts'
import { addLinks } from './links.ts'
import { PROBLEM_JSON, PROBLEMS, type ProblemCode, problemSchema } from './problem.ts'

/** What the document says of itself. */
export const OPENAPI: NonNullable<SwaggerOptions['openapi']> = {
  openapi: '3.1.0',
  info: {
    title: 'millrace analytics API',
    version,
    description:
      'Numbers of creators over time. Times are RFC 3339 in UTC, names snake_case, errors `application/problem+json` with a stable `code`.',
    license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
  },
  servers: [{ url: '/' }],
  security: [{ token: [] }, { key: [] }, {}],
  components: {
    securitySchemes: {
      token: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
      key: { type: 'apiKey', in: 'header', name: 'x-api-key' },
    },
  },
}

const ALWAYS: readonly ProblemCode[] = [
  'invalid_request',
  'unauthenticated',
  'forbidden',
  'rate_limited',
  'internal',
  'unavailable',
  'misdirected',
]
const OF_OPERATION: Readonly<Record<string, readonly ProblemCode[]>> = {
  getCreator: ['not_found', 'query_timeout'],
  requestScrapes: ['idempotency_in_progress', 'too_large', 'unsupported_media_type', 'job_refused'],
  getScrape: ['not_found', 'query_timeout'],
  listen: [],
}
const QUERIES: readonly ProblemCode[] = ['query_timeout']

/** Adds to each route under `/v1` what else it may answer with: one schema, by status. */
export function documented(transform: typeof jsonSchemaTransform): typeof jsonSchemaTransform {
  return ((input: Parameters<typeof jsonSchemaTransform>[0]) => {
    const schema = input.schema as
      | (FastifySchema & { operationId?: string; response?: Record<string, unknown> })
      | undefined
    if (schema?.hide === true || schema?.operationId === undefined || !input.url.startsWith('/v1/'))
      return transform(input)
    const codes = [...ALWAYS, ...(OF_OPERATION[schema.operationId] ?? QUERIES)]
    const problems = Object.fromEntries(
      codes.map((code) => [
        PROBLEMS[code].status,
        {
          description: PROBLEMS[code].title,
          content: { [PROBLEM_JSON.split(';')[0]!]: { schema: problemSchema } },
        },
      ]),
    )
    return transform({
      ...input,
      schema: { ...schema, response: { ...problems, ...schema.response } } as never,
    })
  }) as typeof jsonSchemaTransform
}

type ObjectTransform = typeof jsonSchemaTransformObject

/**
 * The library lists every schema of the process that has an id; ours are those that the document speaks of. Links stand in no
 * route's schema, so they are added here.
 */
export const withOurSchemas: ObjectTransform = (input) => {
  const document = jsonSchemaTransformObject(input) as {
    paths?: unknown
    components?: { schemas?: Record<string, unknown> }
  }
  const all = document.components?.schemas ?? {}
  const found = new Set<string>()
  const collect = (value: unknown) => {
    for (const [, name = ''] of JSON.stringify(value ?? null).matchAll(
      /"#\/components\/schemas\/([\w-]+)"/g,
    )) {
      if (found.has(name)) continue
      found.add(name)
      collect(all[name])
    }
  }
  collect(document.paths)
  addLinks(document.paths)
  const schemas = Object.fromEntries(Object.entries(all).filter(([name]) => found.has(name)))
  return { ...document, components: { ...document.components, schemas } } as ReturnType<ObjectTransform>
}
