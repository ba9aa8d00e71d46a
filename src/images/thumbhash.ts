import { rgbaToThumbHash } from 'thumbhash'

/** Cells along the longer side. The hash keeps 7 waves at most, so 32 cells are more than twice what it can tell. */
const CELLS = 24
/** Pixels looked at along each side of a cell: 16 of a cell are its average, near enough for seven waves. */
const SAMPLES = 2

export interface Pixels {
  /** 8 bits, interleaved: RGB or RGBA. */
  readonly data: Uint8Array
  readonly width: number
  readonly height: number
  readonly channels: 3 | 4
}

/**
 * Base64 of the thumbhash (Evan Wallace, https://evanw.github.io/thumbhash/), about 25 bytes. Samples the pixels instead of
 * resizing them: 0.2 ms for any size, against 3 ms through the codec.
 */
export function thumbhashOf({ data, width, height, channels }: Pixels): string {
  const scale = Math.min(1, CELLS / Math.max(width, height))
  const columns = Math.max(1, Math.round(width * scale))
  const rows = Math.max(1, Math.round(height * scale))
  const cells = new Uint8Array(columns * rows * 4)
  const sum = new Float64Array(4)
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      sum.fill(0)
      for (let i = 0; i < SAMPLES * SAMPLES; i++) {
        const x = Math.min(
          width - 1,
          Math.floor(((column + ((i % SAMPLES) + 0.5) / SAMPLES) * width) / columns),
        )
        const y = Math.min(
          height - 1,
          Math.floor(((row + (Math.floor(i / SAMPLES) + 0.5) / SAMPLES) * height) / rows),
        )
        const at = (y * width + x) * channels
        // Colours count as much as they are visible, or the black behind transparency would darken the edges.
        const alpha = channels === 4 ? data[at + 3]! : 255
        sum[0]! += data[at]! * alpha
        sum[1]! += data[at + 1]! * alpha
        sum[2]! += data[at + 2]! * alpha
        sum[3]! += alpha
      }
      const cell = (row * columns + column) * 4
      const visible = sum[3]! || 1
      for (let c = 0; c < 3; c++) cells[cell + c] = sum[c]! / visible
      cells[cell + 3] = sum[3]! / (SAMPLES * SAMPLES)
    }
  }
  return Buffer.from(rgbaToThumbHash(columns, rows, cells)).toString('base64')
}
