// SPDX-License-Identifier: Apache-2.0
// OpenAI's own JavaScript client calls a tool, keeps to a schema, embeds, and meets errors. Prints one JSON object.

import { text } from "node:stream/consumers";
import OpenAI from "openai";

const [baseURL, model] = process.argv.slice(2);
const [calling, forming, embedding, tooLong] = JSON.parse(await text(process.stdin));
const client = new OpenAI({ baseURL, apiKey: "-", maxRetries: 0 });
const chat = client.chat.completions;

const firstCall = (completion) => completion.choices[0].message.tool_calls[0].function;
const error = (failed) => [failed.constructor.name, failed.status, failed.code];
const failing = (asked) => chat.create({ model, ...asked }).then(() => null, error);

const called = firstCall(await chat.create({ model, ...calling }));
const streamed = firstCall(await chat.stream({ model, ...calling }).finalChatCompletion());
const formed = (await chat.create({ model, ...forming })).choices[0].message.content;
const embedded = await client.embeddings.create({ model, ...embedding });
const errors = [
  await failing({ messages: calling.messages, model: "another" }),
  await failing({ messages: calling.messages, user: "me" }),
  await failing(tooLong),
];
console.log(JSON.stringify({ called, streamed, formed, embedded, errors }));
