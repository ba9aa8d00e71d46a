import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { z } from 'zod'
import { loadConfig } from '../../src/config/load.ts'

const root = new URL('../../', import.meta.url)
const service = z.looseObject({
  image: z.string(),
  ports: z.array(z.string()).default([]),
  volumes: z.array(z.string()).default([]),
  depends_on: z.record(z.string(), z.object({ condition: z.string() })).default({}),
  healthcheck: z.looseObject({ test: z.array(z.string()) }).optional(),
})
const compose = z
  .object({ services: z.record(z.string(), service), volumes: z.record(z.string(), z.null()) })
  .parse(parse(readFileSync(new URL('docker-compose.yml', root), 'utf8'), { merge: true }))
const services = Object.entries(compose.services)
const keyDigest =
  /\$\{API_KEY_SHA256:-(\w+)\}/.exec(readFileSync(new URL('docker-compose.yml', root), 'utf8'))?.[1] ?? ''

test('the daemons’ configuration is valid, and embeds nothing', () => {
  const config = loadConfig({
    file: fileURLToPath(new URL('deploy/compose/millrace.yaml', root)),
    env: { CLICKHOUSE_PASSWORD: 'a', S3_ACCESS_KEY: 'b', S3_SECRET_KEY: 'c', API_KEY_SHA256: 'd'.repeat(64) },
  })
  assert.deepEqual(config.kafka?.brokers, ['kafka:9092'])
  assert.equal(config.redis?.url, 'redis://redis:6379')
  assert.equal(config.clickhouse?.url, 'http://clickhouse:8123')
  assert.equal(config.store?.kind, 's3')
  assert.deepEqual(Object.keys(config.platforms), ['instagram', 'youtube', 'tiktok'])
})

test('the API is a service of its own, with a key, and Prometheus scrapes it beside the daemons', () => {
  const { api } = loadConfig({
    file: fileURLToPath(new URL('deploy/compose/millrace.yaml', root)),
    env: { CLICKHOUSE_PASSWORD: 'a', S3_ACCESS_KEY: 'b', S3_SECRET_KEY: 'c', API_KEY_SHA256: keyDigest },
  })
  assert.deepEqual(compose.services.api!.ports, [`127.0.0.1:${api.port}:${api.port}`])
  assert.equal(api.host, '0.0.0.0')
  const key = createHash('sha256').update('millrace-api-key').digest('hex')
  assert.deepEqual([keyDigest, api.auth.keys.local?.sha256], [key, key])
  const targets = z
    .object({
      scrape_configs: z.array(
        z.object({ dns_sd_configs: z.array(z.object({ names: z.array(z.string()), port: z.int() })) }),
      ),
    })
    .parse(parse(readFileSync(new URL('prometheus/prometheus.yml', root), 'utf8')))
    .scrape_configs.flatMap((one) => one.dns_sd_configs)
  assert.deepEqual(
    targets.map(({ names, port }) => [names, port]),
    [
      [['millrace'], 9464],
      [['api'], api.metrics_port],
    ],
  )
  for (const { names } of targets) assert.ok(names.every((name) => Object.hasOwn(compose.services, name)))
})

test('every image is pinned to a version', () => {
  for (const [name, { image }] of services) assert.match(image, /:v?\d+\.\d+/, name)
})

test('every service that stays has a health check, and is waited for as healthy', () => {
  const finished = new Set(
    services.flatMap(([, { depends_on }]) =>
      Object.entries(depends_on)
        .filter(([, { condition }]) => condition === 'service_completed_successfully')
        .map(([name]) => name),
    ),
  )
  for (const [name, { healthcheck, depends_on }] of services) {
    assert.equal(healthcheck === undefined, finished.has(name), name)
    for (const other of Object.keys(depends_on))
      assert.ok(Object.hasOwn(compose.services, other), `${name}: ${other}`)
  }
})

test('daemons can be scaled, and nothing listens beyond loopback of the host', () => {
  assert.deepEqual(compose.services.millrace!.ports, ['127.0.0.1::9464'])
  for (const [name, { ports }] of services) for (const one of ports) assert.match(one, /^127\.0\.0\.1:/, name)
})

test('every mounted file exists, and every volume is declared', () => {
  for (const [name, { volumes }] of services) {
    for (const volume of volumes) {
      const source = volume.split(':')[0]!
      if (source.startsWith('.')) assert.ok(existsSync(new URL(source, root)), `${name}: ${source}`)
      else assert.ok(Object.hasOwn(compose.volumes, source), `${name}: ${source}`)
    }
  }
})
