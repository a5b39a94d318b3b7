// client.mjs PACKAGES SDK FILE TOOL ARGUMENTS lists the tools of the server that a .mcp.json names, by one of the TypeScript SDKs,
// and calls TOOL. It prints both as one JSON object.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const [packages, sdk, file, tool, args] = process.argv.slice(2)
const modules = {
	'@modelcontextprotocol/sdk': ['dist/esm/client/index.js', 'dist/esm/client/streamableHttp.js'],
	'@modelcontextprotocol/client': ['dist/index.mjs'],
}
const parts = await Promise.all(modules[sdk].map((path) => import(join(packages, sdk, path))))
const { Client, StreamableHTTPClientTransport } = Object.assign({}, ...parts)

// As Claude Code reads it: ${NAME} is a variable of the environment.
const text = readFileSync(file, 'utf8').replace(/\$\{(\w+)\}/g, (_, name) => process.env[name])
const [server] = Object.values(JSON.parse(text).mcpServers)
const client = new Client({ name: 'e2e', version: '1' })
await client.connect(new StreamableHTTPClientTransport(new URL(server.url), { requestInit: { headers: server.headers } }))
const { tools } = await client.listTools()
const result = await client.callTool({ name: tool, arguments: JSON.parse(args) })
console.log(JSON.stringify({ tools: tools.map(({ name }) => name), result }))
await client.close()
