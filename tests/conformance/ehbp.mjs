// SPDX-License-Identifier: Apache-2.0
// A chat request by the ehbp package. Arguments: the origin. Standard input: [request], a JSON document.
// Standard output: {status, type, text}.

import { Transport } from 'ehbp'

const chunks = []
for await (const chunk of process.stdin) chunks.push(chunk)
const [request] = JSON.parse(Buffer.concat(chunks))
const origin = process.argv[2]
const transport = await Transport.create(origin)
const response = await transport.post(`${origin}/v1/chat/completions`, JSON.stringify(request), {
  headers: { 'content-type': 'application/json' },
})
const type = response.headers.get('content-type')
process.stdout.write(JSON.stringify({ status: response.status, type, text: await response.text() }))
