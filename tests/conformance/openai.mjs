// SPDX-License-Identifier: Apache-2.0
// OpenAI's own JavaScript client asks, streams, lists models, and meets an error. Prints one JSON object.

import OpenAI from "openai";

const [baseURL, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "-" });
const question = { model, messages: [{ role: "user", content: "What is gravity?" }], temperature: 0, max_tokens: 12 };

const models = [];
for await (const one of client.models.list()) models.push(one.id);
const whole = await client.chat.completions.create(question);
let streamed = "";
for await (const chunk of await client.chat.completions.create({ ...question, stream: true })) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
}
const missing = await client.chat.completions.create({ ...question, model: "another" }).catch((error) => error.status);
console.log(JSON.stringify({ models, whole: whole.choices[0].message.content, streamed, missing }));
