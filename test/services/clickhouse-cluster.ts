import { mkdir, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { findClickhouse, SERVER_FILE } from './clickhouse.ts'
import { freePorts, saysPortTaken } from './ports.ts'
import { type Running, startService } from './running.ts'

const TRIES_MAX = 4
/** The name that `clickhouse.cluster` has to be. */
export const CLUSTER = 'two_shards'

/** Two nodes, a shard each, and an address at which they take what a cluster takes. */
export interface ClickhouseCluster extends AsyncDisposable {
  /** Of the stand-in for the queue of ON CLUSTER statements. Whatever is no such statement goes to the first node. */
  readonly address: string
  readonly nodes: readonly ClusterNode[]
  stop(): Promise<void>
}

export interface ClusterNode {
  readonly service: Running
  /** Opens the port at which the other node asks it; has to be done after each start. */
  listen(): Promise<void>
}

/**
 * A cluster of two processes of the engine that npm's chdb holds, which know each other as two shards. Distributed tables, macros and
 * replicated tables' paths are the engine's own. Two things it lacks, since it is clickhouse-local with listeners: the queue of
 * ON CLUSTER statements, and replication (a replicated table can be made, and stays read-only). So the address here runs an
 * ON CLUSTER statement on every node as their queue would, and, unless `replicated`, with tables that are not.
 */
export async function startClickhouseCluster(
  options: { replicated?: boolean } = {},
): Promise<ClickhouseCluster> {
  for (let attempt = 1; ; attempt += 1) {
    const ports = await freePorts(4)
    const [http1, http2, tcp1, tcp2] = ports as [number, number, number, number]
    const started: ClusterNode[] = []
    try {
      const nodes = [
        { http: http1, tcp: tcp1, shard: 'a' },
        { http: http2, tcp: tcp2, shard: 'b' },
      ]
      for (const node of nodes) started.push(await startNode(node, [tcp1, tcp2]))
      for (const node of started) await node.listen()
      return await inFrontOf(started, options.replicated ?? false)
    } catch (error) {
      const clash = saysPortTaken(`${error} ${started.map(({ service }) => service.output()).join()}`)
      await Promise.all(started.map(({ service }) => service.stop()))
      if (!clash || attempt === TRIES_MAX) throw error
    }
  }
}

async function startNode(
  { http, tcp, shard }: { readonly http: number; readonly tcp: number; readonly shard: string },
  allTcp: readonly number[],
): Promise<ClusterNode> {
  const found = await findClickhouse()
  const address = `http://127.0.0.1:${http}`
  const service = await startService(found, {
    ports: 0,
    plan: (folder) => ({
      name: `ClickHouse, shard ${shard}`,
      address,
      command: process.execPath,
      args: [SERVER_FILE, join(folder, 'data'), String(http), '--config-file', join(folder, 'config.xml')],
      stdin: 'pipe',
      prepare: async () => {
        await mkdir(join(folder, 'data'), { recursive: true })
        await writeFile(join(folder, 'config.xml'), configOf(shard, tcp, allTcp))
      },
      ready: async () => (await say(address, '', 'SELECT 1')).text === '1\n',
      readyWithinMs: 90_000,
      stopWithinMs: 8_000,
    }),
  })
  return {
    service,
    async listen() {
      const { status, text } = await say(address, '', 'SYSTEM START LISTEN TCP')
      if (status !== 200) throw new Error(text)
    },
  }
}

function configOf(shard: string, tcp: number, allTcp: readonly number[]): string {
  const shards = allTcp.map(
    (port) =>
      `<shard><internal_replication>true</internal_replication><replica><host>127.0.0.1</host><port>${port}</port></replica></shard>`,
  )
  return `<clickhouse>
  <zookeeper><implementation>testkeeper</implementation></zookeeper>
  <remote_servers><${CLUSTER}>${shards.join('')}</${CLUSTER}></remote_servers>
  <macros><shard>${shard}</shard><replica>one</replica></macros>
  <tcp_port>${tcp}</tcp_port>
</clickhouse>
`
}

/** The stand-in's server. */
async function inFrontOf(nodes: readonly ClusterNode[], replicated: boolean): Promise<ClickhouseCluster> {
  // Whoever stood still writes into no connection that was closed meanwhile.
  const server = createServer({ keepAliveTimeout: 600_000 }, (request, reply) => {
    pass(request, reply, nodes, replicated).catch((error: unknown) => {
      reply.writeHead(502, { 'content-type': 'text/plain' }).end(String(error))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const stop = async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
    await Promise.all(nodes.map(({ service }) => service.stop()))
  }
  const { port } = server.address() as AddressInfo
  return { address: `http://127.0.0.1:${port}`, nodes, stop, [Symbol.asyncDispose]: stop }
}

async function pass(
  request: IncomingMessage,
  reply: ServerResponse,
  nodes: readonly ClusterNode[],
  replicated: boolean,
): Promise<void> {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  const body = Buffer.concat(parts).toString()
  const spread = / ON CLUSTER `\w+`/.test(body) && !body.startsWith('INSERT')
  const sql = spread ? forOneNode(body, replicated) : body
  // A database is made where it is not there to be current.
  const path = sql.startsWith('CREATE DATABASE') ? '/' : (request.url ?? '/')
  let answer = { status: 500, text: 'no node', code: '' }
  for (const { service } of spread ? nodes : nodes.slice(0, 1)) {
    answer = await say(service.address, path, sql)
    if (answer.status !== 200) break
  }
  reply.writeHead(answer.status, answer.code === '' ? {} : { 'x-clickhouse-exception-code': answer.code })
  reply.end(answer.text)
}

/** An ON CLUSTER statement as a node's queue runs it. */
export function forOneNode(sql: string, replicated: boolean): string {
  const alone = sql.replace(/ ON CLUSTER `\w+`/, '')
  if (replicated) return alone
  return alone
    .replace(/ReplicatedReplacingMergeTree\('[^']*', '[^']*'(?:, (\w+))?\)/, 'ReplacingMergeTree($1)')
    .replace(/\breplicated_deduplication_window/g, 'non_replicated_deduplication_window')
}

async function say(
  address: string,
  path: string,
  sql: string,
): Promise<{ status: number; text: string; code: string }> {
  const reply = await fetch(new URL(path, address), {
    method: 'POST',
    body: sql,
    signal: AbortSignal.timeout(60_000),
  })
  const code = reply.headers.get('x-clickhouse-exception-code') ?? ''
  return { status: reply.status, text: await reply.text(), code }
}
