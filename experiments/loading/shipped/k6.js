// The requests of a batchwright scenario, each sent at the instant that plan.json has for it.
//
//   k6 run script.js                     (BATCHWRIGHT_TOKEN and URL may be in the environment)
//
// k6's arrival-rate executors keep a rate, not instants.  So each virtual user runs one iteration
// in which timers send its share of the plan; http.asyncRequest lets any number be under way.
// Latency is from the planned instant to the answer: late sending does not hide a queue.  The first
// tenth of the requests is the warm-up and counts nowhere.
import exec from 'k6/execution';
import http from 'k6/http';
import { Counter, Rate, Trend } from 'k6/metrics';
import { SharedArray } from 'k6/data';

const about = JSON.parse(open('./about.json'));
const plan = new SharedArray('plan', () => JSON.parse(open('./plan.json')));
const url = (__ENV.URL || about.url) + about.path;
const warmUp = Math.floor(plan.length / 10);
const HEAD_START_MS = 2000;

const latency = new Trend('latency_from_plan', true);
const late = new Trend('sent_late', true);
const within = new Rate('within_slo');
const answers = new Counter('answers');

const thresholds = {};
about.tiers.forEach((tier) => {
  thresholds[`latency_from_plan{tier:${tier.name}}`] = ['p(99)>=0'];
  thresholds[`within_slo{tier:${tier.name}}`] =
    tier.slo_ms === null ? ['rate>=0'] : [`rate>=${tier.percentile / 100}`];
});
about.statuses.forEach((status) => {
  thresholds[`answers{status:${status}}`] = ['count>=0'];
});

export const options = {
  scenarios: {
    plan: {
      executor: 'per-vu-iterations', vus: about.users, iterations: 1,
      maxDuration: `${Math.ceil(about.seconds + 60)}s`,
    },
  },
  batch: 900, batchPerHost: 900,  // how many connections a virtual user keeps open
  discardResponseBodies: true,
  summaryTrendStats: ['count', 'avg', 'med', 'p(90)', 'p(99)', 'max'],
  thresholds,
};

const known = about.statuses.filter((status) => status > 0);
http.setResponseCallback(http.expectedStatuses(...known));

const now = () => exec.instance.currentTestRunDuration;  // ms with fractions, for all users alike

export function setup() {
  return { origin: now() + HEAD_START_MS };
}

export default function send(data) {
  const bodies = {};
  for (let place = exec.vu.idInTest - 1; place < plan.length; place += about.users) {
    const [instant, length, tier, patience] = plan[place];
    const key = `${length} ${tier} ${patience}`;
    bodies[key] = bodies[key] || body(length, patience);
    const due = data.origin + instant;
    setTimeout(() => ask(bodies[key], tier, due, place), Math.max(0, due - now()));
  }
}

async function ask(content, tier, due, place) {
  const headers = Object.assign({}, content.headers);
  if (about.tiers.length > 1) headers['x-batchwright-tier'] = about.tiers[tier].name;
  if (__ENV.BATCHWRIGHT_TOKEN) headers.Authorization = `Bearer ${__ENV.BATCHWRIGHT_TOKEN}`;
  const sent = now();
  const answer = await http.asyncRequest('POST', url, content.data, { headers, timeout: '60s' });
  const took = now() - due;
  if (place < warmUp) return;
  const tags = { tier: about.tiers[tier].name, status: String(answer.status) };
  answers.add(1, tags);
  late.add(sent - due);
  const good = answer.status === 200;
  if (good) latency.add(took, tags);
  const slo = about.tiers[tier].slo_ms;
  if (slo !== null) within.add(good && took <= slo, tags);
}

function body(length, patience) {
  const size = length * about.samples;
  const inputs = about.inputs.map((input) => {
    const shape = input.shape.map((known) => (known < 0 ? 1 : known));
    if (input.kind !== 'text' && input.open) shape[shape.length - 1] = size;
    return { input, shape, count: shape.reduce((a, b) => a * b, 1) };
  });
  const parameters = patience ? { timeout: patience } : undefined;
  const said = inputs.map(({ input, shape, count }) => {
    const one = { name: input.name, datatype: input.datatype, shape };
    if (about.binary) one.parameters = { binary_data_size: count * input.bytes };
    else one.data = Array.from({ length: count }, (_, k) => value(input.kind, k, length));
    return one;
  });
  const text = JSON.stringify({ parameters, inputs: said });
  if (!about.binary) return { data: text, headers: { 'Content-Type': 'application/json' } };
  return {
    data: joined(text, inputs),
    headers: {
      'Content-Type': 'application/octet-stream',
      'Inference-Header-Content-Length': String(text.length),
    },
  };
}

function value(kind, k, length) {
  if (kind === 'ids') return 1000 + ((k * 7919) % 29000);
  if (kind === 'noise') return (((k * 7919) % 2001) - 1000) / 10000;
  if (kind === 'text') return 'batch '.repeat(length).trim();
  return kind === 'ones' ? 1 : 0;
}

function joined(text, inputs) {
  const size = inputs.reduce((sum, { input, count }) => sum + count * input.bytes, text.length);
  const whole = new Uint8Array(size);
  for (let k = 0; k < text.length; k += 1) whole[k] = text.charCodeAt(k);
  let place = text.length;
  inputs.forEach(({ input, count }) => {
    const view = new DataView(whole.buffer, place, count * input.bytes);
    for (let k = 0; k < count; k += 1) {
      const one = value(input.kind, k, 0);
      if (input.datatype === 'FP32') view.setFloat32(4 * k, one, true);
      else if (input.datatype === 'INT32') view.setInt32(4 * k, one, true);
      else view.setInt32(8 * k, one, true);  // INT64: the upper half stays zero
    }
    place += count * input.bytes;
  });
  return whole.buffer;
}

export function handleSummary(data) {
  const found = { tool: 'k6', tiers: {}, answers: {}, late_ms: ends(data.metrics.sent_late) };
  about.tiers.forEach(({ name, slo_ms }) => {
    found.tiers[name] = ends(data.metrics[`latency_from_plan{tier:${name}}`]);
    const kept = data.metrics[`within_slo{tier:${name}}`];
    found.tiers[name].within_slo = slo_ms === null || !kept ? null : kept.values.rate;
  });
  about.statuses.forEach((status) => {
    const one = data.metrics[`answers{status:${status}}`];
    if (one && one.values.count) found.answers[status] = one.values.count;
  });
  const text = `${JSON.stringify(found, null, 2)}\n`;
  return { stdout: text, 'result.json': text };
}

function ends(metric) {
  if (!metric) return {};
  const { count, avg, med, max } = metric.values;
  return {
    requests: count, mean_ms: avg, p50_ms: med, p90_ms: metric.values['p(90)'],
    p99_ms: metric.values['p(99)'], max_ms: max,
  };
}
