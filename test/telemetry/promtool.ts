import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'

/** Runs promtool in prometheus/, with `input` on its standard input. Resolves with its exit code and all it printed. */
export async function promtool(
  binary: string,
  args: readonly string[],
  input = '',
): Promise<{ code: number | null; output: string }> {
  const child = spawn(binary, args, { cwd: new URL('../../prometheus/', import.meta.url) })
  child.stdin.end(input)
  const ended = Promise.withResolvers<number | null>()
  child.once('error', ended.reject)
  child.once('close', ended.resolve)
  const [out, errors, code] = await Promise.all([text(child.stdout), text(child.stderr), ended.promise])
  return { code, output: out + errors }
}
