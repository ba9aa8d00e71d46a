import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { z } from 'zod'
import { loadConfig } from '../../src/config/load.ts'
import { poolSize } from '../../src/images/pool-size.ts'
import { fetched } from '../need.ts'
import { deploySchemas } from '../services/deploy-schemas.ts'
import { type Manifest, ManifestCheck } from './manifest-check.ts'

const folder = new URL('../../deploy/kubernetes/', import.meta.url)
const read = (name: string): unknown => parse(readFileSync(new URL(name, folder), 'utf8'))

const kustomization = z
  .object({
    resources: z.array(z.string()),
    configMapGenerator: z.array(z.object({ name: z.string(), files: z.array(z.string()) })),
    images: z.array(z.object({ name: z.string() })),
  })
  .parse(read('kustomization.yaml'))

const labels = z.record(z.string(), z.string())
const probe = z.object({ httpGet: z.object({ path: z.string(), port: z.string() }) })
const { spec: deployment } = z
  .object({
    spec: z.object({
      selector: z.object({ matchLabels: labels }),
      template: z.object({
        metadata: z.object({ labels }),
        spec: z.object({
          terminationGracePeriodSeconds: z.number(),
          containers: z.tuple([
            z.object({
              image: z.string(),
              args: z.array(z.string()),
              envFrom: z.tuple([z.object({ secretRef: z.object({ name: z.string() }) })]),
              env: z.tuple([z.object({ name: z.literal('UV_THREADPOOL_SIZE'), value: z.string() })]),
              resources: z.object({ requests: z.object({ cpu: z.string() }) }),
              ports: z.tuple([z.object({ name: z.string(), containerPort: z.number() })]),
              startupProbe: probe,
              livenessProbe: probe,
              readinessProbe: probe,
              volumeMounts: z.array(z.object({ name: z.string(), mountPath: z.string() })),
            }),
          ]),
          volumes: z.array(z.looseObject({ name: z.string() })),
        }),
      }),
    }),
  })
  .parse(read('deployment.yaml'))
const [container] = deployment.template.spec.containers

const { spec: scaling } = z
  .object({
    spec: z.object({
      scaleTargetRef: z.object({ name: z.string() }),
      minReplicaCount: z.number(),
      maxReplicaCount: z.number(),
      advanced: z.object({ scalingModifiers: z.object({ formula: z.string(), target: z.string() }) }),
      triggers: z.array(z.object({ name: z.string() })),
    }),
  })
  .parse(read('scaled-object.yaml'))

const secret = z
  .object({ metadata: z.object({ name: z.string() }), stringData: labels })
  .parse(read('secret.example.yaml'))
const config = loadConfig({
  file: fileURLToPath(new URL('millrace.yaml', folder)),
  env: secret.stringData,
})

test('every manifest is what Kubernetes, KEDA and Prometheus’s operator take, without a field that they do not know', {
  timeout: 500_000,
}, async (t) => {
  const schemas = await fetched(t, deploySchemas)
  if (schemas === null) return
  const check = new ManifestCheck(schemas)
  for (const name of [...kustomization.resources, 'secret.example.yaml'])
    assert.deepEqual(check.problems(read(name) as Manifest), [], name)
  // The check is one, deep down, for each kind of schema.
  const wrong = (name: string, change: (text: string) => string) =>
    check.problems(parse(change(readFileSync(new URL(name, folder), 'utf8'))) as Manifest)
  assert.notDeepEqual(
    wrong('deployment.yaml', (text) => text.replace('periodSeconds: 2', 'everySeconds: 2')),
    [],
  )
  assert.notDeepEqual(
    wrong('scaled-object.yaml', (text) => text.replace('minReplicaCount', 'minReplicas')),
    [],
  )
  assert.notDeepEqual(
    wrong('service-monitor.yaml', (text) => text.replace('interval: 15s', 'interval: often')),
    [],
  )
})

test('kustomization.yaml takes every manifest but the secret', () => {
  const manifests = readdirSync(folder).filter(
    (name) => !/^(kustomization|millrace|.*\.example)\./.test(name),
  )
  assert.deepEqual([...kustomization.resources].sort(), manifests.sort())
  assert.equal(kustomization.images[0]?.name, container.image)
})

test('the configuration embeds nothing, and takes every variable of the secret', () => {
  assert.ok(config.kafka && config.redis && config.clickhouse && config.store?.kind === 's3')
  const text = readFileSync(new URL('millrace.yaml', folder), 'utf8')
  const variables = [...text.matchAll(/\$\{(\w+)\}/g)].map(([, name]) => name!)
  assert.deepEqual([...new Set(variables)].sort(), Object.keys(secret.stringData).sort())
  assert.equal(container.envFrom[0].secretRef.name, secret.metadata.name)
})

test('the names that files share are the same', () => {
  const name = { 'app.kubernetes.io/name': 'millrace' }
  assert.deepEqual(deployment.selector.matchLabels, name)
  assert.deepEqual(deployment.template.metadata.labels, name)
  for (const file of [
    'service.yaml',
    'service-monitor.yaml',
    'pod-disruption-budget.yaml',
    'network-policy.yaml',
  ])
    assert.match(readFileSync(new URL(file, folder), 'utf8'), /app\.kubernetes\.io\/name: millrace/, file)
  assert.equal(scaling.scaleTargetRef.name, 'millrace')
  const [generated] = kustomization.configMapGenerator
  assert.ok(
    deployment.template.spec.volumes.some(
      (volume) => (volume.configMap as { name?: string } | undefined)?.name === generated?.name,
    ),
  )
  for (const { name: mounted } of container.volumeMounts)
    assert.ok(
      deployment.template.spec.volumes.some((volume) => volume.name === mounted),
      mounted,
    )
  const mount = (path: string) => container.volumeMounts.some(({ mountPath }) => mountPath === path)
  assert.ok(mount('/etc/millrace') && mount(config.data) && mount('/tmp'))
  assert.equal(container.args.at(-1), `/etc/millrace/${generated?.files[0]}`)
})

test('probes and port are those of the admin server, and a drain ends before it is killed', () => {
  const [port] = container.ports
  assert.equal(port.containerPort, config.admin.port)
  assert.equal(config.admin.host, '0.0.0.0')
  for (const { httpGet } of [container.startupProbe, container.livenessProbe, container.readinessProbe])
    assert.equal(httpGet.port, port.name)
  assert.equal(container.livenessProbe.httpGet.path, '/livez')
  assert.equal(container.readinessProbe.httpGet.path, '/readyz')
  const killedAfterMs = deployment.template.spec.terminationGracePeriodSeconds * 1_000
  assert.ok(killedAfterMs >= config.drain_deadline + 10_000)
})

const api = z
  .object({
    spec: z.object({
      selector: z.object({ matchLabels: labels }),
      template: z.object({
        metadata: z.object({ labels }),
        spec: z.object({
          terminationGracePeriodSeconds: z.number(),
          containers: z.tuple([
            z.object({
              image: z.string(),
              args: z.array(z.string()),
              ports: z.array(z.object({ name: z.string(), containerPort: z.number() })),
              startupProbe: probe,
              livenessProbe: probe,
              readinessProbe: probe,
              lifecycle: z.object({ preStop: z.object({ sleep: z.object({ seconds: z.number() }) }) }),
            }),
          ]),
        }),
      }),
    }),
  })
  .parse(read('api-deployment.yaml')).spec

test('the API has its own ports, labels and probes, and its requests end before it is killed', () => {
  const [{ args, image, ports, lifecycle, ...probes }] = api.template.spec.containers
  assert.equal(image, container.image)
  assert.deepEqual(args, ['api', ...container.args.slice(1)])
  assert.deepEqual(
    ports.map(({ containerPort }) => containerPort),
    [config.api.port, config.api.metrics_port],
  )
  const found = Object.entries(probes).map(([name, { httpGet }]) => [name, httpGet.path, httpGet.port])
  assert.deepEqual(found, [
    ['startupProbe', '/healthz', 'api'],
    ['livenessProbe', '/healthz', 'api'],
    ['readinessProbe', '/readyz', 'api'],
  ])
  // The daemons' service, policy and monitor must not choose it.
  const name = { 'app.kubernetes.io/name': 'millrace-api' }
  assert.deepEqual([api.selector.matchLabels, api.template.metadata.labels], [name, name])
  for (const file of ['service', 'service-monitor', 'pod-disruption-budget', 'network-policy'])
    assert.match(readFileSync(new URL(`api-${file}.yaml`, folder), 'utf8'), /name: millrace-api \}/, file)
  const graceMs = (api.template.spec.terminationGracePeriodSeconds - lifecycle.preStop.sleep.seconds) * 1_000
  assert.ok(graceMs >= config.drain_deadline + 10_000)
  assert.ok(config.api.cursor_secret !== undefined, 'pages may come from any process')
})

test('pictures get the threads of the CPUs that are asked for, not of the machine', () => {
  assert.equal(String(config.images.threads), container.resources.requests.cpu)
  assert.equal(container.env[0].value, String(poolSize(config.images.threads).uvThreads))
})

test('there are never more daemons than partitions, or than share the limits', () => {
  assert.ok(scaling.maxReplicaCount <= config.kafka!.partitions)
  assert.ok(scaling.maxReplicaCount <= config.limits.daemons_max)
})

test('lag asks for daemons, but not while a limit is used up', () => {
  const { formula, target } = scaling.advanced.scalingModifiers
  assert.deepEqual(
    scaling.triggers.map(({ name }) => name),
    ['lag', 'used', 'daemons'],
  )
  // KEDA's language (expr) and JavaScript agree on this much of it.
  const value = new Function('lag', 'used', 'daemons', 'min', `return ${formula}`)
  const replicas = (lag: number, used: number, daemons: number) => {
    const wanted = Math.ceil(value(lag, used, daemons, Math.min) / Number(target))
    return Math.min(Math.max(wanted, scaling.minReplicaCount), scaling.maxReplicaCount)
  }
  assert.equal(replicas(45_000, 0.3, 2), 5, 'room and lag: more')
  assert.equal(replicas(45_000, 0.95, 2), 2, 'used up: no more than now')
  assert.equal(replicas(45_000, 0.95, 5), 5, 'used up: nor fewer')
  assert.equal(replicas(15_000, 0.95, 5), 2, 'used up, and lag is gone: fewer')
  assert.equal(replicas(1e9, 0.1, 2), 10, 'never more than there may be')
})
