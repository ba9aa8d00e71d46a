/** The part of OpenAPI that our document consists of. */
export interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> }
}

interface Operation {
  readonly operationId: string
  readonly summary?: string
  readonly parameters?: readonly {
    readonly name: string
    readonly in: 'query' | 'path' | 'header'
    readonly required?: boolean
    readonly description?: string
    readonly schema: Schema
  }[]
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> }
  readonly responses: Readonly<
    Record<string, { readonly content?: Readonly<Record<string, { readonly schema: Schema }>> }>
  >
}

interface Schema {
  readonly $ref?: string
  readonly type?: string | readonly string[]
  readonly description?: string
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly anyOf?: readonly Schema[]
  readonly additionalProperties?: Schema | boolean
}

/**
 * The types of a client, made from the document: one for each schema, and `Operations`, which says of each operation what it
 * takes and what it answers with.
 */
export function clientTypes({ paths, components }: Document): string {
  const schemas = Object.entries(components.schemas).map(
    ([name, schema]) => `export type ${name} = ${typeOf(schema, 0)}\n`,
  )
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([method]) => method !== 'head')
      .map(([method, operation]) => operationText(method, path, operation)),
  )
  return [
    '// Generated from the OpenAPI document by scripts/docs.ts; do not edit.',
    '',
    ...schemas,
    'export interface Operations {',
    ...operations,
    '}',
    '',
    '/** Where each operation is. */',
    'export const PLACES = {',
    ...Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods)
        .filter(([method]) => method !== 'head')
        .map(([method, { operationId }]) => `  ${operationId}: ['${method.toUpperCase()}', '${path}'],`),
    ),
    '} as const satisfies Record<keyof Operations, readonly [string, string]>',
    '',
  ].join('\n')
}

function operationText(method: string, path: string, operation: Operation): string {
  const parameters = operation.parameters ?? []
  const group = (where: string) => {
    const some = parameters.filter((one) => one.in === where)
    const properties = Object.fromEntries(
      some.map(({ name, description, schema }) => [
        name,
        { ...schema, ...(description === undefined ? {} : { description }) },
      ]),
    )
    return typeOf(
      { type: 'object', properties, required: some.filter((one) => one.required).map((one) => one.name) },
      2,
    )
  }
  const body = Object.values(operation.requestBody?.content ?? {})[0]?.schema
  const good = Object.entries(operation.responses).find(([status]) => status.startsWith('2'))?.[1]
  const reply = Object.values(good?.content ?? {})[0]?.schema
  return [
    `  /** ${operation.summary ?? operation.operationId}: \`${method.toUpperCase()} ${path}\`. */`,
    `  ${operation.operationId}: {`,
    `    path: ${group('path')}`,
    `    query: ${group('query')}`,
    `    body: ${body === undefined ? 'undefined' : typeOf(body, 2)}`,
    `    reply: ${reply === undefined ? 'unknown' : typeOf(reply, 2)}`,
    '  }',
  ].join('\n')
}

function typeOf(schema: Schema, depth: number): string {
  const {
    $ref,
    type,
    enum: values,
    const: only,
    anyOf,
    items,
    properties,
    required = [],
    additionalProperties,
  } = schema
  if ($ref !== undefined) return $ref.split('/').at(-1) ?? 'unknown'
  if (values !== undefined) return values.map((value) => literal(value)).join(' | ')
  if (only !== undefined) return literal(only)
  if (anyOf !== undefined) return anyOf.map((one) => typeOf(one, depth)).join(' | ')
  if (Array.isArray(type))
    return type.map((one: string) => typeOf({ ...schema, type: one }, depth)).join(' | ')
  if (type === 'array') return `readonly (${typeOf(items ?? {}, depth)})[]`
  if (type === 'object' || properties !== undefined) {
    const entries = Object.entries(properties ?? {})
    if (entries.length === 0) {
      if (typeof additionalProperties === 'object')
        return `Readonly<Record<string, ${typeOf(additionalProperties, depth)}>>`
      return 'Readonly<Record<string, never>>'
    }
    const pad = '  '.repeat(depth + 1)
    const lines = entries.flatMap(([name, property]) => [
      ...(property.description === undefined
        ? []
        : [`${pad}/** ${property.description.replaceAll('*/', '')} */`]),
      `${pad}readonly ${/^\w+$/.test(name) ? name : literal(name)}${required.includes(name) ? '' : '?'}: ${typeOf(property, depth + 1)}`,
    ])
    return `{\n${lines.join('\n')}\n${'  '.repeat(depth)}}`
  }
  return (
    { integer: 'number', number: 'number', string: 'string', boolean: 'boolean', null: 'null' }[
      String(type)
    ] ?? 'unknown'
  )
}

function literal(value: unknown): string {
  return typeof value === 'string' ? `'${value.replaceAll("'", "\\'")}'` : JSON.stringify(value)
}
