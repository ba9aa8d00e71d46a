import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { command } from './command.ts'
import { containerPlan, hasImage } from './docker.ts'
import type { Found } from './found.ts'
import { coordinatorAnswers } from './kafka-coordinator.ts'
import { classArchive, findJars, findJava, javaArgs, KAFKA_VERSION } from './kafka-install.ts'
import { type Running, startService } from './running.ts'

const IMAGE = `apache/kafka:${KAFKA_VERSION}`

export interface KafkaOptions {
  /** More lines of server.properties, over the ones below. */
  readonly properties?: Readonly<Record<string, string>>
}

/** Apache Kafka: docker, an installed one, or its jars from Maven on a Java that is here. */
export async function findKafka(): Promise<Found> {
  if (await hasImage(IMAGE)) return { how: 'docker', version: KAFKA_VERSION, at: IMAGE }
  await findJava()
  return findJars()
}

/**
 * Starts a broker of one's own (KRaft, one node, topics are not created by themselves), and waits until its group
 * coordinator has loaded, since the first join before that can crash a consumer. `address` is `127.0.0.1:<port>`.
 */
export async function startKafka(options: KafkaOptions = {}): Promise<Running> {
  const found = await findKafka()
  if (found.how === 'docker') return startContainer(found, options)
  const { java, version } = await findJava()
  const base = javaArgs(found.at)
  const cacheable = found.how !== 'installed'
  const archive = await classArchive(
    { libs: found.at, javaVersion: version, cacheable },
    async (recording) => {
      const broker = await startBroker(found, options, {
        java,
        formatArgs: base,
        brokerArgs: [recording, ...base],
      })
      await broker.stop()
    },
  )
  const args = [...archive, ...base]
  return startBroker(found, options, { java, formatArgs: args, brokerArgs: args })
}

function startBroker(
  found: Found,
  options: KafkaOptions,
  run: { java: string; formatArgs: readonly string[]; brokerArgs: readonly string[] },
): Promise<Running> {
  return startService(found, {
    ports: 2,
    plan(folder, [port, controllerPort]) {
      const file = join(folder, 'server.properties')
      return {
        name: 'Kafka',
        address: `127.0.0.1:${port}`,
        command: run.java,
        args: [...run.brokerArgs, 'kafka.Kafka', file],
        async prepare() {
          const properties = {
            ...settings(port!, controllerPort!, '127.0.0.1'),
            'log.dirs': join(folder, 'data'),
            ...options.properties,
          }
          const lines = Object.entries(properties).map(([key, value]) => `${key}=${value}\n`)
          await writeFile(file, lines.join(''))
          const format = ['kafka.tools.StorageTool', 'format', '-t', clusterId(), '-c', file]
          await command(run.java, [...run.formatArgs, ...format], { withinMs: 60_000, cwd: folder })
        },
        ready: async (output) =>
          output.includes('Kafka Server started') && coordinatorAnswers({ host: '127.0.0.1', port: port! }),
        readyWithinMs: 90_000,
        // A broker that records its classes writes 30 MB at its end.
        stopWithinMs: 30_000,
      }
    },
  })
}

function startContainer(found: Found, options: KafkaOptions): Promise<Running> {
  return startService(found, {
    ports: 1,
    plan(_folder, [port]) {
      // The controller is asked from inside only, so its port needs not be free out here.
      const controllerPort = port === 9093 ? 9094 : 9093
      const properties = { ...settings(port!, controllerPort, '0.0.0.0'), ...options.properties }
      // The image reads each property from a variable of its name: dots become one underscore, underscores two.
      const env = Object.fromEntries(
        Object.entries(properties).map(([key, value]) => [
          `KAFKA_${key.replaceAll('-', '___').replaceAll('_', '__').replaceAll('.', '_').toUpperCase()}`,
          value,
        ]),
      )
      return {
        ...containerPlan({ image: IMAGE, ports: [[port!, port!]], env: { ...env, CLUSTER_ID: clusterId() } }),
        name: 'Kafka',
        address: `127.0.0.1:${port}`,
        ready: () => coordinatorAnswers({ host: '127.0.0.1', port: port! }),
        readyWithinMs: 120_000,
        stopWithinMs: 30_000,
      }
    },
  })
}

/** One small node. The two `broker.*` lines let it be back 3 s after a SIGKILL instead of 11; shorter ones fence it under load. */
function settings(port: number, controllerPort: number, host: string): Record<string, string> {
  return {
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.voters': `1@127.0.0.1:${controllerPort}`,
    'controller.listener.names': 'CONTROLLER',
    listeners: `PLAINTEXT://${host}:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${port}`,
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'num.partitions': '1',
    'auto.create.topics.enable': 'false',
    'offsets.topic.num.partitions': '1',
    'offsets.topic.replication.factor': '1',
    'transaction.state.log.num.partitions': '1',
    'transaction.state.log.replication.factor': '1',
    'transaction.state.log.min.isr': '1',
    'group.initial.rebalance.delay.ms': '0',
    'group.min.session.timeout.ms': '500',
    'broker.session.timeout.ms': '2000',
    'broker.heartbeat.interval.ms': '300',
    'num.network.threads': '2',
    'num.io.threads': '2',
    'log.cleaner.dedupe.buffer.size': '4194304',
  }
}

/** 16 random bytes as 22 characters. A leading dash would be taken for an option. */
function clusterId(): string {
  return randomBytes(16).toString('base64url').replace(/^-/, 'M')
}
