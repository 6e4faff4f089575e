// SPDX-License-Identifier: Apache-2.0
// HPKE by two libraries: seals what Python is to open, and opens what Python sealed.
//
// Standard input: [{library, kem, aead, private_key, public_key, info, messages: [{aad, text}],
//   exporter_context, theirs: {enc, sealed: [...]}}]; standard output: for each
//   {enc, sealed: [...], exported, opened: [...], exported_by_recipient}. All bytes are hexadecimal.

import * as core from '@hpke/core'
import { XWing } from '@hpke/hybridkem-x-wing'
import * as noble from '@panva/hpke-noble'
import * as panva from 'hpke'

const bytes = (hex) => new Uint8Array(Buffer.from(hex, 'hex'))
const hex = (data) => Buffer.from(data).toString('hex')

async function withCore(work) {
  const suite = new core.CipherSuite({
    kem: { 0x0020: () => new core.DhkemX25519HkdfSha256(), 0x647a: () => new XWing() }[work.kem](),
    kdf: new core.HkdfSha256(),
    aead: { 1: () => new core.Aes128Gcm(), 2: () => new core.Aes256Gcm() }[work.aead](),
  })
  const info = bytes(work.info)
  const sender = await suite.createSenderContext({
    recipientPublicKey: await suite.kem.deserializePublicKey(bytes(work.public_key)),
    info,
  })
  const recipient = await suite.createRecipientContext({
    recipientKey: await suite.kem.deserializePrivateKey(bytes(work.private_key)),
    enc: bytes(work.theirs.enc),
    info,
  })
  return {
    enc: sender.enc,
    seal: (text, aad) => sender.seal(text, aad),
    open: (sealed, aad) => recipient.open(sealed, aad),
    exported: (context) => sender.export(context, 32),
    exportedByRecipient: (context) => recipient.export(context, 32),
  }
}

function panvaSuite(work) {
  const from = work.library === 'hpke' ? panva : noble
  const kem = { 0x0020: from.KEM_DHKEM_X25519_HKDF_SHA256, 0x647a: from.KEM_MLKEM768_X25519 }[work.kem]
  const aead = { 1: from.AEAD_AES_128_GCM, 2: from.AEAD_AES_256_GCM, 3: from.AEAD_ChaCha20Poly1305 }[work.aead]
  return new panva.CipherSuite(kem, from.KDF_HKDF_SHA256, aead)
}

async function withPanva(work) {
  const suite = panvaSuite(work)
  const publicKey = await suite.DeserializePublicKey(bytes(work.public_key))
  const privateKey = await suite.DeserializePrivateKey(bytes(work.private_key), true)
  const info = bytes(work.info)
  const { encapsulatedSecret, ctx } = await suite.SetupSender(publicKey, { info })
  const recipient = await suite.SetupRecipient({ publicKey, privateKey }, bytes(work.theirs.enc), { info })
  return {
    enc: encapsulatedSecret,
    seal: (text, aad) => ctx.Seal(text, aad),
    open: (sealed, aad) => recipient.Open(sealed, aad),
    exported: (context) => ctx.Export(context, 32),
    exportedByRecipient: (context) => recipient.Export(context, 32),
  }
}

async function run(work) {
  const contexts = await (work.library === '@hpke/core' ? withCore(work) : withPanva(work))
  const sealed = []
  const opened = []
  for (const [index, message] of work.messages.entries()) {
    const aad = bytes(message.aad)
    sealed.push(hex(await contexts.seal(bytes(message.text), aad)))
    opened.push(hex(await contexts.open(bytes(work.theirs.sealed[index]), aad)))
  }
  const context = bytes(work.exporter_context)
  return {
    enc: hex(contexts.enc),
    sealed,
    opened,
    exported: hex(await contexts.exported(context)),
    exported_by_recipient: hex(await contexts.exportedByRecipient(context)),
  }
}

const chunks = []
for await (const chunk of process.stdin) chunks.push(chunk)
const results = []
for (const work of JSON.parse(Buffer.concat(chunks))) results.push(await run(work))
process.stdout.write(JSON.stringify(results))
