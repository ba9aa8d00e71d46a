import { libchdbPath } from 'chdb/libchdb'
import { DataType, load, open } from 'ffi-rs'

// The ClickHouse engine of npm's chdb, serving HTTP until its standard input ends: <folder> <port> [argument…]
const [folder, port, ...rest] = process.argv.slice(2)
if (folder === undefined || port === undefined) throw new Error('expected the arguments <folder> <port>')

// The listener runs beside the query, so the query reads its standard input, which never says anything, until it ends.
const query =
  "SYSTEM START LISTEN HTTP; SELECT count() FROM file('-', 'LineAsString', 'line String') FORMAT Null"
const server = ['--path', folder, '--http_port', port, '--listen_host', '127.0.0.1', ...rest]
const args = ['clickhouse', ...server, '--query', query]

open({ library: 'chdb', path: libchdbPath() })
load({
  library: 'chdb',
  funcName: 'chdb_query_cmdline',
  retType: DataType.External,
  paramsType: [DataType.I32, DataType.StringArray],
  paramsValue: [args.length, args],
})
