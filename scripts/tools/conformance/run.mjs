// run.mjs PACKAGES builds every MCP server of this repository, starts each on a free port of 127.0.0.1 with fresh tokens,
// and runs the conformance scenarios and the inspector against it, one at a time. scripts/conformance calls it.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { startProxy } from './proxy.mjs'

// The scenarios that mean something for a server with tools only.
const scenarios = {
	'2025-11-25': ['server-initialize', 'ping', 'tools-list', 'dns-rebinding-protection'],
	'2026-07-28': ['server-stateless', 'tools-list', 'dns-rebinding-protection', 'caching', 'http-header-validation',
		'server-sse-multiple-streams', 'input-required-result-unsupported-methods'],
}
// What a scenario may say of such a server: that a check needs a tool made for it, or that prompts and resources are unknown
// methods. Any other FAILURE is one.
const excused = /^Not testable: |^(prompts|resources)\/[a-z/]+ returned JSON-RPC error -32601: /
// Folders of servers/ that are no MCP server; and the one that has no tools of its own, and forwards to the others.
const others = ['internal', 'e2e', 'door', 'egress']
const gateway = 'gateway'
// The agent of agents/policy.yaml that calls. The servers take any token of the folder.
const agent = 'policy-gate'

const scenarioTimeout = 15_000 // milliseconds
const runTimeout = 60_000 // of any program started here but the build
const startTimeout = 20_000
const endTimeout = 20_000 // from SIGTERM to SIGKILL
const maxOutput = 16 << 20 // bytes of any program's output
const maxDetails = 2000 // characters of a failed check's details

const root = resolve(import.meta.dirname, '../../..')
const packages = process.argv[2]
const scratch = mkdtempSync(join(tmpdir(), 'conformance-'))
const stop = new AbortController()
const { signal } = stop
const started = []
let failures = 0

// run returns what the program printed, and its code: 0, its own, or why there is none.
async function run(program, args, options = {}) {
	// HOME keeps the inspector out of the caller's ~/.mcp-inspector.
	const env = { PATH: process.env.PATH, HOME: scratch }
	const settings = { cwd: root, env, timeout: runTimeout, maxBuffer: maxOutput, signal, ...options }
	const result = await promisify(execFile)(program, args, settings).catch((error) => error)
	signal.throwIfAborted()
	return { code: result.code ?? result.signal ?? 0, output: `${result.stdout}${result.stderr}`, stdout: result.stdout }
}

async function must(program, args, options) {
	const { code, output } = await run(program, args, options)
	if (code !== 0) throw new Error(`${program} ${args.join(' ')}: ${code}\n${output}`)
}

// start returns once the server at address says that it is healthy.
async function start(name, address, ...flags) {
	const log = join(scratch, `${name}.log`)
	const stderr = openSync(log, 'a')
	// CI runs as root, which a server refuses to serve as.
	const child = spawn(join(scratch, name), [`--listen=${address}`, '--allow-unisolated', ...flags], { stdio: ['ignore', 'ignore', stderr] })
	closeSync(stderr)
	started.push(child)
	const deadline = Date.now() + startTimeout
	while ((await run(join(scratch, name), ['health', `--listen=${address}`])).code !== 0) {
		if (child.exitCode !== null || Date.now() > deadline) throw new Error(`${name} did not start:\n${readFileSync(log)}`)
		await sleep(50)
	}
	return child
}

async function end(child) {
	if (child.exitCode !== null || child.signalCode !== null) return
	child.kill()
	const kill = setTimeout(() => child.kill('SIGKILL'), endTimeout)
	await once(child, 'exit')
	clearTimeout(kill)
}

async function freePort() {
	const server = createServer().listen(0, '127.0.0.1')
	await once(server, 'listening')
	const { port } = server.address()
	server.close()
	return port
}

function report(what, { reasons, note }) {
	if (reasons.length > 0) failures++
	console.log(`${reasons.length > 0 ? 'FAIL' : 'PASS'}  ${what}${note ? ` (${note})` : ''}`)
	for (const reason of reasons) console.log(`      ${reason}`)
}

// conformance runs one scenario, and returns what is wrong.
async function conformance(url, era, scenario) {
	const folder = mkdtempSync(join(scratch, 'checks-'))
	const { code, output } = await run(process.execPath, [join(packages, '.bin/conformance'), 'server', '--url', url,
		'--scenario', scenario, '--spec-version', era, '--timeout', `${scenarioTimeout}`, '-o', folder])
	const files = readdirSync(folder, { recursive: true }).filter((file) => file.endsWith('checks.json'))
	const checks = files.flatMap((file) => JSON.parse(readFileSync(join(folder, file))))
	const succeeded = checks.filter(({ status }) => status === 'SUCCESS').length
	const failed = checks.filter(({ status }) => status === 'FAILURE')
	const reasons = failed.filter(({ errorMessage }) => !excused.test(errorMessage))
		.map(({ id, errorMessage, details }) => `${id}: ${errorMessage} ${(JSON.stringify(details) ?? '').slice(0, maxDetails)}`)
	const excuses = failed.length - reasons.length
	if (succeeded === 0) reasons.push(`no check succeeded; the tool ended with ${code}: ${output}`)
	return { reasons, note: `${succeeded} succeeded, ${excuses} excused` }
}

// toolNames asks the server itself: the inspector leaves out, without a word, a tool whose definition it cannot read.
async function toolNames(url) {
	const response = await fetch(url, {
		method: 'POST',
		headers: { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' },
		body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }),
		signal: AbortSignal.any([signal, AbortSignal.timeout(scenarioTimeout)]),
	})
	const answer = await response.text()
	if (!response.ok) throw new Error(`tools/list: ${response.status} ${answer}`)
	return names(answer)
}

const names = (answer) => (JSON.parse(answer).result?.tools ?? []).map(({ name }) => name).sort().join(' ')

// inspect lists the tools by the inspector, which fails where a schema is not portable, and returns what is wrong.
async function inspect(expected, era, ...target) {
	const { code, output, stdout } = await run(process.execPath, [join(packages, '.bin/mcp-inspector'), '--cli',
		'--method', 'tools/list', '--strict', '--protocol-era', era, '--format', 'json', ...target])
	if (code !== 0) return { reasons: [`exit ${code}: ${output}`] }
	return { reasons: expected !== '' && names(stdout) === expected ? [] : [`lists "${names(stdout)}", of "${expected}"`] }
}

async function test(name, flags, tokens, token) {
	const port = await freePort()
	const child = await start(name, `tcp://127.0.0.1:${port}`, `--tokens=${tokens}`, ...flags)
	const proxy = await startProxy(port, token)
	const url = `http://127.0.0.1:${proxy.address().port}/mcp`
	for (const [era, list] of Object.entries(scenarios)) {
		for (const scenario of list) report(`${name} ${era} ${scenario}`, await conformance(url, era, scenario))
	}
	const expected = await toolNames(url)
	const http = [`http://127.0.0.1:${port}/mcp`, '--transport', 'http', '--header', `Authorization: Bearer ${token}`]
	const stdio = ['--transport', 'stdio', '--', join(scratch, name), '--listen=stdio', '--allow-unisolated']
	for (const era of ['legacy', 'modern']) {
		report(`${name} ${era} inspector, http`, await inspect(expected, era, ...http))
		if (name === gateway) continue // it asks who is calling, and so does not serve standard input
		report(`${name} ${era} inspector, stdio`, await inspect(expected, era, ...stdio))
	}
	proxy.close()
	proxy.closeAllConnections()
	await end(child)
}

async function main() {
	const servers = readdirSync(join(root, 'servers')).filter((name) => !others.includes(name) && name !== gateway)
	const overrides = { CGO_ENABLED: '0', GOOS: '', GOARCH: '', BULKHEAD_POLICY: '', BULKHEAD_SECRETS: join(scratch, 'secrets') }
	const build = { env: { ...process.env, ...overrides }, timeout: 0 }
	await must('go', ['build', '-trimpath', '-o', `${scratch}/`, ...[...servers, gateway].map((name) => `./servers/${name}`)], build)
	await must(join(root, 'scripts/secrets'), [], build)
	const tokens = join(scratch, 'secrets/tokens')
	const token = readFileSync(join(scratch, 'secrets/agents', agent, 'MCP_GATEWAY_TOKEN'), 'utf8')

	for (const name of servers) await test(name, [], tokens, token)

	const upstreams = []
	for (const name of servers) {
		const socket = `unix://${join(scratch, name)}.sock`
		await start(name, socket)
		upstreams.push(`--upstream=${name}=${socket}`)
	}
	const audit = join(scratch, 'audit')
	mkdirSync(audit)
	await test(gateway, ['--policy=agents/policy.yaml', '--lock=agents/tools.lock.json', `--audit=${audit}`, `--audit-key=${join(scratch, 'secrets/audit/audit.key')}`, ...upstreams], tokens, token)
}

// Whatever ends this, the servers end first.
for (const name of ['SIGHUP', 'SIGINT', 'SIGTERM']) process.on(name, () => stop.abort(new Error(name)))
process.stdout.on('error', (error) => stop.abort(error))
try {
	await main()
} catch (error) {
	failures++
	console.error(`scripts/conformance: ${error.message}`)
} finally {
	await Promise.all(started.map(end))
	rmSync(scratch, { recursive: true, force: true })
}
process.exit(failures > 0 ? 1 : 0)
