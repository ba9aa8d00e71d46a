import { readFileSync } from 'node:fs'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'

const schemas = new URL('../../schemas/', import.meta.url)

/** A published schema, as committed. */
export function readSchema(name: string): Record<string, unknown> {
  return JSON.parse(readFileSync(new URL(name, schemas), 'utf8'))
}

/** A check against a JSON Schema of the 2020-12 draft, as others' programs would make it. `date-time` is in patterns too. */
export function validator(schema: Record<string, unknown>): ValidateFunction {
  return new Ajv2020({ allErrors: true, strict: true, validateFormats: false }).compile(schema)
}
