import { ChdbEngine } from '../../src/timeseries/chdb.ts'

// Opens a folder, says so, and holds it until its standard input ends: <folder>
const [path] = process.argv.slice(2)
if (path === undefined) throw new Error('expected the argument <folder>')
const engine = new ChdbEngine({ path, database: 'millrace' })
await engine.open()
process.stdout.write('open\n')
process.stdin.resume()
process.stdin.once('end', () => {
  void engine.close().then(() => process.exit(0))
})
