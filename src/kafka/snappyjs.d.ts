/** The package brings no types of its own. */
declare module 'snappyjs' {
  const snappy: {
    compress(data: Buffer): Buffer
    uncompress(data: Buffer, lengthMax?: number): Buffer
  }
  export default snappy
}
