import { open } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { messageOf } from '../job/errors.ts'

export type Source =
  | { readonly status: 'bytes'; readonly bytes: Buffer }
  /** The picture is at fault. */
  | { readonly status: 'rejected'; readonly why: string }
  /** The command line is: nothing there, no file, no right to read it. */
  | { readonly status: 'unreadable'; readonly why: string }

/** The bytes of a file, or of standard input for `-`: at most `bytesMax` of them are ever held. Never rejects but when aborted. */
export async function readSource(
  path: string,
  options: { readonly bytesMax: number; readonly stdin: () => Readable; readonly signal: AbortSignal },
): Promise<Source> {
  const { bytesMax, stdin, signal } = options
  try {
    if (path === '-') return await bounded(stdin(), bytesMax)
    await using file = await open(path)
    const found = await file.stat()
    if (found.isDirectory())
      return { status: 'unreadable', why: `is a folder; expected files, such as ${path}/*` }
    if (found.isFile() && found.size > bytesMax) return tooLarge(found.size, bytesMax)
    // One byte more than allowed shows what has grown meanwhile, or has no size, such as a pipe.
    return await bounded(file.createReadStream({ end: bytesMax, highWaterMark: 1 << 20, signal }), bytesMax)
  } catch (error) {
    if (signal.aborted) throw signal.reason
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENOENT' || code === 'ENOTDIR') return { status: 'unreadable', why: 'there is no such file' }
    return { status: 'unreadable', why: `cannot be read: ${messageOf(error, 200)}` }
  }
}

async function bounded(stream: Readable, bytesMax: number): Promise<Source> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes > bytesMax)
      return { status: 'rejected', why: `has more than ${bytesMax} bytes (images.bytes_max)` }
  }
  return { status: 'bytes', bytes: Buffer.concat(chunks) }
}

function tooLarge(bytes: number, bytesMax: number): Source {
  return { status: 'rejected', why: `has ${bytes} bytes; expected at most ${bytesMax} (images.bytes_max)` }
}
