import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import { parse } from 'yaml'
import type { DeploySchemas } from '../services/deploy-schemas.ts'

/** What all Kubernetes objects have. */
export interface Manifest {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string }
}

/** The part of an OpenAPI schema in a CustomResourceDefinition that has to be walked. */
interface OpenApi {
  pattern?: string
  properties?: Record<string, OpenApi>
  items?: OpenApi
  additionalProperties?: OpenApi | boolean
  'x-kubernetes-preserve-unknown-fields'?: boolean
}

/** Checks manifests against the schemas of their kinds; fields that a schema does not know are errors. */
export class ManifestCheck {
  readonly #schemas: DeploySchemas
  readonly #ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true })
  readonly #checks = new Map<string, ValidateFunction>()

  constructor(schemas: DeploySchemas) {
    this.#schemas = schemas
    this.#ajv.addSchema(this.#read('_definitions.json'), '/api/_definitions.json')
  }

  /** What is wrong with it, empty when nothing is. */
  problems(manifest: Manifest): string[] {
    const { apiVersion, kind } = manifest
    const known = this.#checks.get(kind) ?? this.#ajv.compile(this.#schemaOf(apiVersion, kind))
    this.#checks.set(kind, known)
    if (known(manifest)) return []
    return known.errors!.map(
      ({ instancePath, message, params }) => `${instancePath} ${message} ${JSON.stringify(params)}`,
    )
  }

  #schemaOf(apiVersion: string, kind: string): object {
    const [group = '', version] = apiVersion.includes('/') ? apiVersion.split('/') : ['', apiVersion]
    if (!group.includes('.') || group.endsWith('.k8s.io')) {
      const short = group.split('.')[0]
      return this.#read(`${[kind, ...(short === '' ? [] : [short]), version].join('-')}.json`.toLowerCase())
    }
    const crd = parse(readFileSync(join(this.#schemas.crds, `${kind}.yaml`), 'utf8')) as {
      spec: { group: string; versions: { name: string; schema: { openAPIV3Schema: OpenApi } }[] }
    }
    const found = crd.spec.versions.find(({ name }) => name === version)
    if (crd.spec.group !== group || found === undefined)
      throw new Error(`${apiVersion} ${kind}: no such kind`)
    const schema = found.schema.openAPIV3Schema
    const { metadata: _metadata, ...properties } = schema.properties ?? {}
    const strict = closed({ ...schema, properties })
    return { ...strict, properties: { ...strict.properties, metadata: { type: 'object' } } }
  }

  #read(name: string): object {
    return JSON.parse(readFileSync(join(this.#schemas.kubernetes, name), 'utf8'))
  }
}

/** The same, and nothing beside what is named: Kubernetes drops such fields in silence. */
function closed(schema: OpenApi): OpenApi {
  const { properties, items, additionalProperties } = schema
  const copy: OpenApi = { ...schema }
  // Go's `(?i)` holds to the end, JavaScript's has brackets.
  if (copy.pattern?.includes('(?i)') === true) copy.pattern = copy.pattern.replace(/\(\?i\)(.*)$/, '(?i:$1)')
  if (items !== undefined) copy.items = closed(items)
  if (typeof additionalProperties === 'object') copy.additionalProperties = closed(additionalProperties)
  if (properties !== undefined) {
    copy.properties = Object.fromEntries(Object.entries(properties).map(([name, one]) => [name, closed(one)]))
    if (additionalProperties === undefined && schema['x-kubernetes-preserve-unknown-fields'] !== true)
      copy.additionalProperties = false
  }
  return copy
}
