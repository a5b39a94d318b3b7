// The conformance tool cannot be told a header, and our servers want a token on TCP. So it talks to this proxy, which adds
// the header and passes everything else through as it came, Host included.
import { once } from 'node:events'
import { createServer, request } from 'node:http'
import { pipeline } from 'node:stream'

export async function startProxy(port, token) {
	const proxy = createServer({ requireHostHeader: false }, (asked, answer) => {
		const headers = [...asked.rawHeaders, 'Authorization', `Bearer ${token}`]
		const forwarded = request({ host: '127.0.0.1', port, method: asked.method, path: asked.url, headers }, (got) => {
			answer.writeHead(got.statusCode, got.statusMessage, got.rawHeaders)
			pipeline(got, answer, () => {})
		})
		// Where one side breaks off, the other one sees it: the proxy has no answers of its own.
		pipeline(asked, forwarded, () => {})
		forwarded.on('error', () => answer.destroy())
		answer.on('close', () => answer.writableFinished || forwarded.destroy())
	})
	proxy.listen(0, '127.0.0.1')
	await once(proxy, 'listening')
	return proxy
}
