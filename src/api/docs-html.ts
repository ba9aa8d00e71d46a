import { PROBLEMS } from './problem.ts'

/** The part of an OpenAPI document that the page shows. */
export interface Document {
  readonly info: { readonly title: string; readonly version: string; readonly description?: string }
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components?: { readonly schemas?: Readonly<Record<string, Schema>> }
}

interface Operation {
  readonly operationId?: string
  readonly summary?: string
  readonly description?: string
  readonly parameters?: readonly {
    readonly name: string
    readonly in: string
    readonly required?: boolean
    readonly description?: string
    readonly schema?: Schema
  }[]
  readonly requestBody?: { readonly content?: Readonly<Record<string, { readonly schema?: Schema }>> }
  readonly responses?: Readonly<
    Record<string, { readonly content?: Readonly<Record<string, { readonly schema?: Schema }>> }>
  >
}

interface Schema {
  readonly $ref?: string
  readonly type?: string | readonly string[]
  readonly format?: string
  readonly description?: string
  readonly default?: unknown
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly minimum?: number
  readonly maximum?: number
  readonly properties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
  readonly anyOf?: readonly Schema[]
  readonly additionalProperties?: Schema | boolean
}

const STYLE = `
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); --soft: color-mix(in srgb, currentColor 65%, transparent) }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin: 2.5rem 0 .25rem; padding-top: .75rem; border-top: 1px solid var(--line) } h3 { font-size: .95rem; margin: 1rem 0 .25rem }
code { font: .9em ui-monospace, monospace } p { margin: .25rem 0 } .soft { color: var(--soft) } nav { columns: 18rem }
dl { display: grid; grid-template-columns: minmax(8rem, 14rem) 1fr; gap: .25rem 1rem; margin: .25rem 0 } dd { margin: 0 }
a { color: light-dark(#0b57d0, #8ab4f8) } nav a { display: block }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr } dd { margin: 0 0 .5rem 1rem } }
`

/** The OpenAPI document as a page for people, without a script. */
export function docsHtml(document: Document): string {
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([method]) => method !== 'head')
      .map(([method, operation]) => ({ name: `${method.toUpperCase()} ${path}`, operation })),
  )
  const { title, version, description } = document.info
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${text(title)}</title><link rel="icon" href="data:,">
<style>${STYLE}</style>
<h1>${text(title)} <span class="soft">${text(version)}</span></h1>
<p>${text(description ?? '')} The document behind this page: <a href="/openapi.json">/openapi.json</a>.</p>
<nav>${operations.map(({ name, operation }) => `<a href="#${text(operation.operationId ?? '')}"><code>${text(name)}</code></a>`).join('')}</nav>
${operations.map(({ name, operation }) => operationHtml(name, operation, document)).join('\n')}
<h2 id="problems">Problems</h2>
<dl>${Object.entries(PROBLEMS)
    .map(
      ([code, { status, title: what }]) =>
        `<dt id="${code}"><code>${code}</code> ${status}</dt><dd>${text(what)}.</dd>`,
    )
    .join('')}</dl>
</html>
`
}

function operationHtml(name: string, operation: Operation, document: Document): string {
  const rows = (operation.parameters ?? []).map(
    ({ name: parameter, in: where, required, schema = {}, description }) =>
      `<dt><code>${text(parameter)}</code> <span class="soft">${where}${required === true ? ', required' : ''}</span></dt><dd>${kind(schema)}${about({ ...schema, ...(description === undefined ? {} : { description }) })}</dd>`,
  )
  const body = Object.values(operation.requestBody?.content ?? {})[0]?.schema
  const reply = Object.entries(operation.responses ?? {}).find(([status]) => status.startsWith('2'))
  const shape = Object.values(reply?.[1].content ?? {})[0]?.schema
  return `<h2 id="${text(operation.operationId ?? '')}"><code>${text(name)}</code></h2>
<p>${text(operation.summary ?? '')}.</p>${operation.description === undefined ? '' : `<p>${text(operation.description)}</p>`}
${rows.length === 0 ? '' : `<h3>Parameters</h3><dl>${rows.join('')}</dl>`}
${body === undefined ? '' : `<h3>Body</h3>${shapeHtml(body, document)}`}
${shape === undefined ? '' : `<h3>Reply ${reply![0]}</h3>${shapeHtml(shape, document)}`}`
}

function shapeHtml(schema: Schema, document: Document): string {
  const found = resolved(schema, document)
  if (found.anyOf !== undefined)
    return found.anyOf.map((one) => shapeHtml(one, document)).join('<p class="soft">or</p>')
  const rows = fieldsOf(found, document, '')
  return rows.length === 0 ? `<p>${kind(found)}${about(found)}</p>` : `<dl>${rows.join('')}</dl>`
}

/** Every field by its path; deeper ones are indented by it. */
function fieldsOf(schema: Schema, document: Document, path: string): string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, given]) => {
    const field = resolved(given, document)
    const here = `${path}${name}`
    const inner = field.items === undefined ? field : resolved(field.items, document)
    const below = fieldsOf(inner, document, `${here}${field.items === undefined ? '.' : '[].'}`)
    return [`<dt><code>${text(here)}</code></dt><dd>${kind(field)}${about(field)}</dd>`, ...below]
  })
}

function resolved(schema: Schema, document: Document): Schema {
  const name = schema.$ref?.split('/').at(-1)
  return name === undefined ? schema : { ...document.components?.schemas?.[name], ...schema }
}

function kind({ type, format, enum: values, anyOf, const: only, items, $ref }: Schema): string {
  const plain = [type ?? []].flat().join(' or ')
  const listed = values ?? (only === undefined ? undefined : [only])
  if (listed !== undefined) return listed.map((value) => `<code>${text(String(value))}</code>`).join(', ')
  if (anyOf !== undefined) return anyOf.map(kind).join(' or ')
  if (items !== undefined) return `list of ${kind(items) || 'anything'}`
  if (plain === '') return $ref === undefined ? 'anything' : text($ref.split('/').at(-1) ?? '')
  return text(format === undefined ? plain : `${plain} (${format})`)
}

function about({ description, default: fallback, minimum, maximum }: Schema): string {
  const parts = [
    minimum === undefined && maximum === undefined ? '' : `from ${minimum ?? '…'} to ${maximum ?? '…'}`,
    fallback === undefined ? '' : `default ${JSON.stringify(fallback)}`,
  ].filter(Boolean)
  return `${parts.length === 0 ? '' : `, ${text(parts.join(', '))}`}${description === undefined ? '' : `. ${text(description)}`}`
}

function text(raw: string): string {
  return raw.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}
