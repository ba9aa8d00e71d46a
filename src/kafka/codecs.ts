import { Readable } from 'node:stream'
import { promisify } from 'node:util'
import zlib from 'node:zlib'
import kafkajs from 'kafkajs'
import { compressFrameSync, decompressFrame } from 'lz4-napi'
import snappy from 'snappyjs'
import { CUT_RECORD_BYTES_MAX, cutRecords } from './record-cutter.ts'

// Node's named imports see only some of what this CommonJS module exports; CompressionCodecs is not among them.
const { CompressionCodecs, CompressionTypes } = kafkajs

interface Codec {
  compress(encoder: { buffer: Buffer }): Promise<Buffer>
  decompress(buffer: Buffer): Promise<Buffer>
}

/**
 * A batch that opens to more than this is taken apart record by record, and large values are cut (see record-cutter).
 * Brokers allow about 1 MB for a compressed batch, and honest JSON shrinks to a tenth, rarely to a sixtieth.
 */
export const BATCH_BYTES_MAX = 64 * 1024 * 1024

const gunzip = promisify(zlib.unzip)
const gzip = promisify(zlib.gzip)
const unzstd = promisify(zlib.zstdDecompress)
const zstd = promisify(zlib.zstdCompress)

/** gzip and zstd work in libuv's pool and stop at the bound, so a bomb costs neither the loop nor memory. */
export const gzipCodec: Codec = {
  compress: async (encoder) => await gzip(encoder.buffer),
  decompress: async (buffer) => await bounded(buffer, gunzip, () => zlib.createUnzip()),
}

export const zstdCodec: Codec = {
  compress: async (encoder) => await zstd(encoder.buffer),
  decompress: async (buffer) => await bounded(buffer, unzstd, () => zlib.createZstdDecompress()),
}

/**
 * LZ4 frames. The package has no bound; the format has one: 255 to 1, so a batch of 1 MB opens to at most 255 MB for a
 * moment before it is cut. Opened in libuv's pool, so that this moment is not the loop's.
 */
export const lz4Codec: Codec = {
  compress: async (encoder) => compressFrameSync(encoder.buffer),
  decompress: async (buffer) => await cutWhenLarge(await decompressFrame(buffer)),
}

/** `\x82SNAPPY\0`, which Java producers begin with; librdkafka writes a raw block instead. */
const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00])
/** Magic, version and compatible version. */
const XERIAL_HEADER_BYTES = 16

/** Snappy in both framings. The format opens to at most 21 to 1, which bounds it. */
export const snappyCodec: Codec = {
  compress: async (encoder) => snappy.compress(encoder.buffer),
  decompress: async (buffer) => await cutWhenLarge(openSnappy(buffer)),
}

function openSnappy(buffer: Buffer): Buffer {
  if (!buffer.subarray(0, XERIAL_MAGIC.length).equals(XERIAL_MAGIC)) return snappy.uncompress(buffer)
  const blocks: Buffer[] = []
  let at = XERIAL_HEADER_BYTES
  while (at < buffer.length) {
    const length = buffer.readUInt32BE(at)
    blocks.push(snappy.uncompress(buffer.subarray(at + 4, at + 4 + length)))
    at += 4 + length
  }
  return Buffer.concat(blocks)
}

async function bounded(
  buffer: Buffer,
  open: (buffer: Buffer, options: { maxOutputLength: number }) => Promise<Buffer>,
  stream: () => NodeJS.ReadWriteStream,
): Promise<Buffer> {
  try {
    return await open(buffer, { maxOutputLength: BATCH_BYTES_MAX })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_BUFFER_TOO_LARGE') throw error
  }
  const chunks = Readable.from([buffer]).pipe(stream())
  return await cutRecords(chunks as AsyncIterable<Buffer>, {
    bytesMax: BATCH_BYTES_MAX,
    recordBytesMax: CUT_RECORD_BYTES_MAX,
  })
}

async function cutWhenLarge(opened: Buffer): Promise<Buffer> {
  if (opened.length <= BATCH_BYTES_MAX) return opened
  return await cutRecords([opened], { bytesMax: BATCH_BYTES_MAX, recordBytesMax: CUT_RECORD_BYTES_MAX })
}

let registered = false

/**
 * Teaches kafkajs all four codecs, once per process. Its own gzip is replaced by one with a bound. Not by name for snappy:
 * the key is `Snappy`, and `SNAPPY` would register nothing without a word.
 */
export function registerCodecs(): void {
  if (registered) return
  registered = true
  CompressionCodecs[CompressionTypes.GZIP] = () => gzipCodec
  CompressionCodecs[CompressionTypes.Snappy] = () => snappyCodec
  CompressionCodecs[CompressionTypes.LZ4] = () => lz4Codec
  CompressionCodecs[CompressionTypes.ZSTD] = () => zstdCodec
}
