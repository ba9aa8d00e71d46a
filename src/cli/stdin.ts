import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { PassThrough, type Readable } from 'node:stream'
import { isatty } from 'node:tty'

const STDIN = 0

/**
 * Takes standard input away from the embedded engine, which reads whatever it finds there as the data of the next INSERT. Returns
 * what was to be read from it when `wanted`; then a child (`cat`) holds the other end, because a descriptor cannot be
 * duplicated here. Call it before anything has read from standard input.
 */
export function takeStdin(wanted: boolean): Readable | undefined {
  // The engine leaves a terminal alone.
  if (isatty(STDIN)) return wanted ? process.stdin : undefined
  const stream = wanted ? heldByChild() : undefined
  closeSync(STDIN)
  // The lowest free descriptor is taken, which is the one just closed.
  const opened = openSync('/dev/null', 'r')
  if (opened !== STDIN) throw new Error(`standard input became descriptor ${opened}`)
  return stream
}

function heldByChild(): Readable {
  const child = spawn('cat', [], { stdio: ['inherit', 'pipe', 'inherit'] })
  // Piped at once: what a child has written and nobody has begun to read is thrown away when the child exits.
  const stream = child.stdout.pipe(new PassThrough(), { end: false })
  child.once('error', (error) => stream.destroy(new Error(`standard input cannot be read: ${error.message}`)))
  // Only its good end is the end of the input: half of it must not pass for all.
  child.once('close', (code) => {
    if (code === 0) stream.end()
    else stream.destroy(new Error('standard input broke off'))
  })
  return stream
}
