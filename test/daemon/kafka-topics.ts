import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'

export interface Written {
  readonly key: string
  readonly value: string
}

export interface Read {
  readonly key: string | null
  readonly payload: string
  readonly partition: number
  readonly headers: Record<string, string>
}

/** Publishes with kcat, a producer that is not ours: keys, headers, lz4; idempotent, so that nothing is published twice. */
export async function publish(
  kcat: string,
  broker: string,
  topic: string,
  records: readonly Written[],
  headers: Readonly<Record<string, string>> = {},
): Promise<void> {
  const named = Object.entries({ campaign: 'spring', ...headers })
  const sent = named.flatMap(([name, value]) => ['-H', `${name}=${value}`])
  const args = ['-P', '-b', broker, '-t', topic, '-K', '\t', ...sent, '-z', 'lz4', '-m', '60']
  const child = spawn(kcat, [...args, '-X', 'enable.idempotence=true', '-X', 'log_level=3'], {
    stdio: ['pipe', 'inherit', 'inherit'],
  })
  child.stdin.end(records.map(({ key, value }) => `${key}\t${value}\n`).join(''))
  const [code] = await once(child, 'exit')
  assert.equal(code, 0)
}

/** Everything in a topic so far, read by kcat. */
export async function readTopic(kcat: string, broker: string, topic: string): Promise<Read[]> {
  const place = ['-b', broker, '-t', topic, '-o', 'beginning', '-e']
  // A minute for what is otherwise five seconds: the metadata of a broker that stands still for a while.
  const child = spawn(kcat, ['-C', ...place, '-q', '-J', '-m', '60'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part
  })
  const [code] = await once(child, 'close')
  assert.equal(code, 0)
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const { headers = [], ...record } = JSON.parse(line) as Omit<Read, 'headers'> & { headers?: string[] }
      const pairs = Array.from({ length: headers.length / 2 }, (_, i) => [headers[2 * i], headers[2 * i + 1]])
      return { ...record, headers: Object.fromEntries(pairs) as Record<string, string> }
    })
}
