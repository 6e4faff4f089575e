// SPDX-License-Identifier: Apache-2.0
// Binary HTTP by bhttp-js. Standard input: [{kind, message}], where kind is "request" or "response" to decode
// a message, or "encode request" or "encode response" with a description to encode one. Standard output: for
// each what was decoded, {refused: reason}, or {message}. Bytes are hexadecimal.

import { BHttpDecoder, BHttpEncoder } from 'bhttp-js'

const bytes = (hex) => new Uint8Array(Buffer.from(hex, 'hex'))
const hex = (data) => Buffer.from(data).toString('hex')
const decoder = new BHttpDecoder()
const encoder = new BHttpEncoder()

async function described(message) {
  const { method, url, status, headers } = message
  const content = hex(await message.arrayBuffer())
  return { ...(url ? { method, url } : { status }), fields: Object.fromEntries(headers), content }
}

const actions = {
  request: async (work) => described(decoder.decodeRequest(bytes(work.message))),
  response: async (work) => described(decoder.decodeResponse(bytes(work.message))),
  'encode request': async ({ url, method, fields, content }) => {
    const body = content ? bytes(content) : undefined
    return { message: hex(await encoder.encodeRequest(new Request(url, { method, headers: fields, body }))) }
  },
  'encode response': async ({ status, fields, content }) => ({
    message: hex(await encoder.encodeResponse(new Response(bytes(content), { status, headers: fields }))),
  }),
}

const chunks = []
for await (const chunk of process.stdin) chunks.push(chunk)
const results = []
for (const work of JSON.parse(Buffer.concat(chunks))) {
  try {
    results.push(await actions[work.kind](work))
  } catch (error) {
    results.push({ refused: error.message })
  }
}
process.stdout.write(JSON.stringify(results))
