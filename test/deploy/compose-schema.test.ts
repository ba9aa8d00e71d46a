import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { parse } from 'yaml'
import { fetched } from '../need.ts'
import { deploySchemas } from '../services/deploy-schemas.ts'

test('docker-compose.yml is what the Compose specification says', { timeout: 500_000 }, async (t) => {
  const schemas = await fetched(t, deploySchemas)
  if (schemas === null) return
  const check = new Ajv2020({ allErrors: true, strict: false, validateFormats: false }).compile(
    JSON.parse(readFileSync(schemas.compose, 'utf8')),
  )
  const text = readFileSync(new URL('../../docker-compose.yml', import.meta.url), 'utf8')
  const compose = parse(text, { merge: true }) as { services: Record<string, Record<string, unknown>> }
  assert.ok(check(compose), JSON.stringify(check.errors))
  // The check is one.
  compose.services.millrace!.restarts = 'always'
  assert.equal(check(compose), false)
})
