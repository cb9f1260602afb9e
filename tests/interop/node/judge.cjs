// Vonage's Node SDKs against a running sandbox. Reads the sandbox's JSON line on standard input, prints one JSON line
// of what the SDKs returned or threw. One process: starting node is the slowest part of it.
"use strict";

const { readFileSync } = require("node:fs");
const { setTimeout: pause } = require("node:timers/promises");
const { promisify } = require("node:util");
const { Auth } = require("@vonage/auth");
const { Video } = require("@vonage/video");
const { Voice } = require("@vonage/voice");
const OpenTok = require("opentok");

const DEADLINE_MS = 15000;
const POLL_MS = 40;
const UNKNOWN_CALL = "00000000000000000000000000000000";

// Ask until the answer is good; the last answer is part of the failure.
async function until(ask, good, what) {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const answer = await ask();
    if (good(answer)) return answer;
    if (Date.now() > deadline) throw new Error(`waited for ${what}; last: ${JSON.stringify(answer)}`);
    await pause(POLL_MS);
  }
}

// How a call fails: the HTTP status if the SDK tells it, and its words.
async function refusal(call) {
  try {
    await call();
  } catch (error) {
    return { status: error.response?.status ?? null, message: error.message ?? String(error) };
  }
  return null;
}

// A client that notes which of its methods are called, and all that its class (not that class's base) has.
function noted(client) {
  const called = new Set();
  const known = new Set();
  for (const at of [client, Object.getPrototypeOf(client)]) {
    const names = Object.getOwnPropertyNames(at).filter((name) => typeof client[name] === "function");
    names.filter((name) => name !== "constructor").forEach((name) => known.add(name));
  }
  const get = (target, name) => {
    const value = Reflect.get(target, name);
    if (typeof value !== "function") return value;
    return (...given) => {
      called.add(name);
      return value.apply(target, given);
    };
  };
  return { client: new Proxy(client, { get }), methods: () => ({ called: [...called], known: [...known] }) };
}

const sipOptions = (sandbox) => ({
  auth: { username: sandbox.voice_api_key, password: sandbox.voice_api_secret },
  headers: { "X-Judge": "node" },
  secure: false,
});
const sipUri = (sandbox) => `sip:${sandbox.number}@sip.nexmo.com;transport=tls`;

async function judgeOpenTok(sandbox) {
  const { client, methods } = noted(new OpenTok(sandbox.video_api_key, sandbox.video_api_secret, sandbox.api_url));
  const [createSession, dial, listStreams, forceDisconnect, playDTMF, signal, muteOne, muteAll, unmute] = [
    "createSession",
    "dial",
    "listStreams",
    "forceDisconnect",
    "playDTMF",
    "signal",
    "forceMuteStream",
    "forceMuteAll",
    "disableForceMute",
  ].map((name) => promisify(client[name]));
  const { sessionId } = await createSession({ mediaMode: "routed" });
  const token = client.generateToken(sessionId, { role: "moderator" });
  const call = await dial(sessionId, token, sipUri(sandbox), sipOptions(sandbox));
  const streams = await until(() => listStreams(sessionId), (found) => found.length === 1, "the leg's stream");
  // Not getStream: opentok 2.23 parses the JSON of its answer twice and throws where nobody can catch it.
  await muteOne(sessionId, call.streamId);
  await muteAll(sessionId, {});
  await unmute(sessionId);
  await signal(sessionId, call.connectionId, { type: "news", data: "one" });
  await playDTMF(sessionId, call.connectionId, "12#");
  await forceDisconnect(sessionId, call.connectionId);
  // A session nobody is in any more has no streams to list: 404.
  const emptied = await until(() => refusal(() => listStreams(sessionId)), (refused) => refused !== null, "the end");
  const stranger = new OpenTok(sandbox.video_api_key, "0".repeat(40), sandbox.api_url);
  const relayed = await createSession({ mediaMode: "relayed" });
  const relayedToken = client.generateToken(relayed.sessionId);
  return {
    sessionId,
    connectionId: call.connectionId,
    streamId: call.streamId,
    listed: streams[0].id,
    emptied,
    unknownStream: await refusal(() => muteOne(sessionId, "unknown")),
    wrongSecret: await refusal(() => promisify(stranger.createSession).call(stranger, {})),
    unknownConnection: await refusal(() => forceDisconnect(sessionId, "unknown")),
    relayed: await refusal(() => dial(relayed.sessionId, relayedToken, sipUri(sandbox), sipOptions(sandbox))),
    methods: methods(),
  };
}

async function judgeVideo(sandbox, auth) {
  const { client, methods } = noted(new Video(auth, { videoHost: sandbox.https_url }));
  const { sessionId } = await client.createSession();
  const token = client.generateClientToken(sessionId);
  const sip = { uri: sipUri(sandbox), ...sipOptions(sandbox) };
  const call = await client.initiateSIPCall(sessionId, { token, sip });
  const streams = await until(() => client.getStreamInfo(sessionId), (found) => found.count === 1, "the leg's stream");
  await client.muteStream(sessionId, call.streamId);
  await client.forceMuteAll(sessionId);
  await client.disableForceMute(sessionId);
  await client.sendSignal({ type: "news", data: "one" }, sessionId, call.connectionId);
  await client.playDTMF(sessionId, "12#", call.connectionId);
  await client.disconnectClient(sessionId, call.connectionId);
  const ended = () => refusal(() => client.getStreamInfo(sessionId));
  const emptied = await until(ended, (refused) => refused !== null, "the end of the stream");
  return {
    sessionId,
    connectionId: call.connectionId,
    streamId: call.streamId,
    listed: streams.items[0].id,
    emptied,
    unknownConnection: await refusal(() => client.disconnectClient(sessionId, "unknown")),
    unknownStream: await refusal(() => client.muteStream(sessionId, "unknown")),
    wrongToken: await refusal(() => client.initiateSIPCall(sessionId, { token: "x", sip })),
    wrongAddress: await refusal(() =>
      client.initiateSIPCall(sessionId, { token, sip: { ...sip, uri: "sip:nobody@sip.example.com" } }),
    ),
    methods: methods(),
  };
}

async function judgeVoice(sandbox, auth) {
  const { client, methods } = noted(new Voice(auth, { apiHost: sandbox.https_url }));
  const call = await client.createOutboundCall({
    to: [{ type: "phone", number: sandbox.phone }],
    from: { type: "phone", number: sandbox.number },
    ncco: [{ action: "conversation", name: "node" }],
  });
  const status = (wanted) => until(() => client.getCall(call.uuid), (shown) => shown.status === wanted, wanted);
  const answered = await status("answered");
  await client.muteCall(call.uuid);
  await client.unmuteCall(call.uuid);
  await client.earmuffCall(call.uuid);
  await client.unearmuffCall(call.uuid);
  await client.playTTS(call.uuid, { text: "Hello from Node." });
  await client.stopTTS(call.uuid);
  await client.streamAudio(call.uuid, `${sandbox.app}/tone.wav`, 0);
  await client.stopStreamAudio(call.uuid);
  await client.subscribeDTMF(call.uuid, `${sandbox.app}/keys`);
  await client.unsubscribeDTMF(call.uuid);
  await client.playDTMF(call.uuid, "5");
  const every = [];
  for await (const each of client.getAllCalls({ conversationUUID: call.conversationUUID })) every.push(each.uuid);
  await client.transferCallWithNCCO(call.uuid, [{ action: "conversation", name: "elsewhere" }]);
  await client.transferCallWithURL(call.uuid, `${sandbox.app}/answer`);
  const page = await client.getCallsPage({ status: "answered", pageSize: 100 });
  const found = await client.search({ status: "answered" });
  await client.hangupCall(call.uuid);
  const completed = await status("completed");
  return {
    uuid: call.uuid,
    created: call.status,
    answered: answered.direction,
    listed: page._embedded.calls.map((each) => each.uuid),
    every,
    found: found._embedded.calls.map((each) => each.uuid),
    completed: completed.status,
    wrongNumber: await refusal(() =>
      client.createOutboundCall({
        to: [{ type: "phone", number: "12" }],
        from: { type: "phone", number: sandbox.number },
        ncco: [{ action: "conversation", name: "node" }],
      }),
    ),
    unknownCall: await refusal(() => client.hangupCall(UNKNOWN_CALL)),
    methods: methods(),
  };
}

async function main() {
  const sandbox = JSON.parse(readFileSync(0, "utf8"));
  const privateKey = readFileSync(sandbox.private_key_file, "utf8");
  const auth = new Auth({ applicationId: sandbox.application_id, privateKey });
  const [opentok, video, voice] = await Promise.all([
    judgeOpenTok(sandbox),
    judgeVideo(sandbox, auth),
    judgeVoice(sandbox, auth),
  ]);
  process.stdout.write(`${JSON.stringify({ opentok, video, voice })}\n`);
}

main().then(
  () => process.exit(0),
  (error) => {
    process.stderr.write(`${error.stack ?? JSON.stringify(error)}\n${JSON.stringify(error.response?.data ?? null)}\n`);
    process.exit(1);
  },
);
