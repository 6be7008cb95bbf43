// The conversation every client here holds with a server, and how its outcome is printed: one JSON line a
// step, `{"step","ok","detail"}` or `{"step","ok":false,"error"}`. The Rust harness reads the lines and decides;
// nothing is asserted here. The same steps exist in python.py and in the fixture package's client.
//
// A client is an object of seven functions (see ts-v1.mjs); names of tools, prompts and resources get a prefix,
// because one endpoint may carry several servers.

import { randomUUID } from 'node:crypto';
import { setTimeout as setTimeout_ } from 'node:timers/promises';
import { parseArgs } from 'node:util';

// No step needs more than a second of a healthy server; a loaded machine may need many, and a stuck step must not
// stop the rest.
const STEP_TIMEOUT_MS = 60_000;

export function arguments_() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      fixture: { type: 'string' }, // prefix of the fixture's tools; '' where they have none
      everything: { type: 'string' }, // prefix of server-everything's tools
      header: { type: 'string', multiple: true, default: [] }, // 'Name: value'
      mode: { type: 'string', default: 'default' }, // era choice, where the SDK has one
      patient: { type: 'boolean', default: false }, // provoke an update again until it is heard of
    },
  });
  const headers = Object.fromEntries(
    values.header.map((line) => [line.slice(0, line.indexOf(':')).trim(), line.slice(line.indexOf(':') + 1).trim()]),
  );
  return { url: new URL(positionals[0]), headers, ...values };
}

// What the simulated model and user answer.
export const modelAnswer = (params) => {
  const last = params.messages.at(-1).content;
  const heard = (Array.isArray(last) ? last[0] : last).text;
  return { role: 'assistant', model: 'test-model', stopReason: 'endTurn', content: { type: 'text', text: `heard: ${heard}` } };
};

export const userAnswer = (params) => {
  const fill = ([name, schema]) => {
    if (schema.default !== undefined) return [name, schema.default];
    if (schema.enum) return [name, schema.enum[0]];
    if (schema.oneOf) return [name, schema.oneOf[0].const];
    if (schema.type === 'boolean') return [name, true];
    if (schema.type === 'integer' || schema.type === 'number') return [name, schema.minimum ?? 1];
    if (schema.type === 'array') return [name, []];
    if (schema.format === 'email' || name === 'email') return [name, 'ada@example.com'];
    if (schema.format === 'uri') return [name, 'https://example.com/'];
    if (schema.format === 'date') return [name, '2026-07-28'];
    return [name, 'ada'];
  };
  return { action: 'accept', content: Object.fromEntries(Object.entries(params.requestedSchema.properties).map(fill)) };
};

export async function hold(client, { fixture, everything, patient }) {
  await step('connect', () => client.connect());
  await step('list', async () => ({ tools: (await client.tools()).map((tool) => tool.name) }));
  if (fixture !== undefined) await withFixture(client, fixture, patient);
  if (everything !== undefined) await withEverything(client, everything);
  await step('close', () => client.close());
  process.exit(0);
}

async function withFixture(client, prefix, patient) {
  const call = (name, args = {}, options = {}) => client.call(prefix + name, args, options);

  await step('call', async () => ({ text: text(await call('echo', { message: 'hello' })) }));
  await step('structured', async () => (await call('add', { a: 2, b: 3 })).structuredContent);
  await step('tool_error', async () => ({ isError: (await call('test_error_handling')).isError }));
  await step('unknown_tool', async () => {
    try {
      return { isError: (await call('no_such_tool')).isError ?? false };
    } catch (error) {
      return { code: error.code };
    }
  });
  await step('header', async () => ({ text: text(await call('test_custom_header', { region: 'eu-north' })) }));
  await step('prompt', async () => {
    const prompt = await client.prompt(`${prefix}test_prompt_with_arguments`, { arg1: 'one', arg2: 'two' });
    return { text: prompt.messages[0].content.text };
  });
  await step('read', async () => {
    const uri = await resource(client, 'static-text');
    return { text: (await client.read(uri)).contents[0].text };
  });
  await step('progress', async () => {
    const seen = [];
    await call('test_tool_with_progress', {}, { onprogress: ({ progress }) => seen.push(progress) });
    return { seen };
  });
  await step('sampling', async () => ({ text: text(await call('test_sampling', { prompt: 'two plus two' })) }));
  await step('elicitation', async () => ({ text: text(await call('test_elicitation', { message: 'Who?' })) }));
  await step('two_rounds', async () => ({ text: text(await call('test_input_required_result_multi_round')) }));
  await step('cancel', async () => {
    const label = randomUUID();
    const abort = new AbortController();
    const options = { signal: abort.signal, onprogress: () => abort.abort('enough') };
    const ended = await call('test_wait', { label, ms: 30_000 }, options).then(() => 'answered', () => 'rejected');
    const report = await call('test_wait_report', { label, await_cancelled: true });
    return { ended, ...report.structuredContent };
  });
  await step('watch', async () => {
    const uri = await resource(client, 'watched-resource');
    const before = new Set((await client.tools()).map((tool) => tool.name));
    let resourceUpdated, toolsChanged;
    const updated = new Promise((resolve) => (resourceUpdated = resolve));
    const changed = new Promise((resolve) => (toolsChanged = resolve));
    const stop = await client.watch(uri, { resourceUpdated, toolsChanged });
    do await call('test_trigger_resource_update');
    while (patient && !(await soon(updated)));
    const updatedUri = await updated;
    await call('test_trigger_tool_change');
    await changed;
    const after = new Set((await client.tools()).map((tool) => tool.name));
    await stop();
    return { same: updatedUri === uri, difference: [...before.symmetricDifference(after)] };
  });
  await step('view', async () => {
    const view = (await call('test_request_view')).structuredContent;
    return { modern: view.modern, revision: view.revision, authorization: view.headers.authorization ?? null };
  });
}

async function withEverything(client, prefix) {
  const call = (name, args = {}, options = {}) => client.call(prefix + name, args, options);

  await step('everything_call', async () => ({ text: text(await call('echo', { message: 'hello' })) }));
  await step('everything_structured', async () => (await call('get-structured-content', { location: 'New York' })).structuredContent);
  await step('everything_progress', async () => {
    const seen = [];
    const options = { onprogress: ({ progress }) => seen.push(progress) };
    await call('trigger-long-running-operation', { duration: 0.2, steps: 2 }, options);
    return { seen };
  });
  await step('everything_sampling', async () => ({ text: text(await call('trigger-sampling-request', { prompt: 'two plus two' })) }));
  await step('everything_elicitation', async () => ({ text: text(await call('trigger-elicitation-request')) }));
}

async function resource(client, part) {
  const found = (await client.resources()).find(({ uri }) => uri.includes(part));
  if (!found) throw new Error(`no resource whose URI contains ${part}`);
  return found.uri;
}

// Whether the promise is kept within a moment.
const soon = (promise) => Promise.race([promise.then(() => true), setTimeout_(250, false)]);

const text = (result) => {
  const block = result.content.find((block) => block.type === 'text');
  return result.isError ? `isError: ${block?.text}` : block?.text;
};

export async function step(name, run) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no outcome in ${STEP_TIMEOUT_MS} ms`)), STEP_TIMEOUT_MS);
  });
  try {
    print({ step: name, ok: true, detail: (await Promise.race([run(), late])) ?? {} });
  } catch (error) {
    print({ step: name, ok: false, error: String(error?.message ?? error) });
  } finally {
    clearTimeout(timer);
  }
}

const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
